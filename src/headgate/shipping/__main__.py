"""Started by the supervisor only."""

from headgate.shipping.process import main

main()
