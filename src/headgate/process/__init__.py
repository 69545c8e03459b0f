"""The processes: a supervisor that holds the sockets, and workers that serve; nothing here touches a
request."""
