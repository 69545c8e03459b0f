"""Started by the supervisor only."""

from headgate.tunnel.process import main

main()
