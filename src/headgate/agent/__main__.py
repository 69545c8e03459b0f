"""`python -m headgate.agent`: what the supervisor starts."""

from headgate.agent.process import main

main()
