"""The worker processes: load a gateway, run its engine, and do what the supervisor says."""
