"""What a gateway does beside requests: shared memory and locks, timers, tasks, threads, job processes, services.

Nothing here knows the engine or the supervisor: a worker begins and ends it, a test may do so too.
"""
