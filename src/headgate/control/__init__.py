"""How the processes and the command line talk to each other: channels, signals, and the loop that waits on them."""
