"""Plugins in processes of their own, which may do nothing but compute: nothing of them is loaded by workers.

How it works: a worker starts a child (`child.py`) that reads the plugin's source (`sources.py`), gives up everything
that a process can give up (`lockdown.py`), and only then runs that source. What goes between is JSON: views of a
request and its response (`views.py`) to the child, and a list of changes back, which the worker
checks before it makes them (`outcome.py`).
"""
