"""The supervisor: holds the sockets and the shared memory, starts workers and replaces those that end."""
