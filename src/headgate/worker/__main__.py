"""`python -m headgate.worker`: started by the supervisor only; see `zygote`."""

from headgate.worker.zygote import main

main()
