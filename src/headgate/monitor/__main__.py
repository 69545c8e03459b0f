"""Started by the supervisor only."""

from headgate.monitor.process import main

main()
