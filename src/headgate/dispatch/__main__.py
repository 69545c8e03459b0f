"""Started by the supervisor only."""

from headgate.dispatch.process import main

main()
