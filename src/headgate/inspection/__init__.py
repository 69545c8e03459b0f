"""Live inspection: breakpoints in a running process, with a condition and a handler, that do not stop it.

How it works: `places` finds the code that is meant among the modules that are loaded; a `tap` has that code call
back, and no other (`monitoring` from Python 3.12 on, `rewriting` before); `inspection` asks the condition, evaluates
what is to be shown and tells the caller. Nothing here knows the engine or the processes: `headgate.worker` carries
orders in and hits out.
"""

from __future__ import annotations

from .inspection import CannotInspect, Hit, Inspection, Order

__all__ = ["CannotInspect", "Hit", "Inspection", "Order"]
