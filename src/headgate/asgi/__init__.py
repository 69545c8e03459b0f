"""ASGI 3 applications inside the gateway: `gate.mount("/admin", app)`."""

from __future__ import annotations

from .mount import Application, Mount

__all__ = ["Application", "Mount"]
