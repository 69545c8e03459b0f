"""What is done about code that blocks the event loop."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from .settings import Settings
from .units import Duration


class WatchdogConfig(Settings):
    """What is done about code that blocks the event loop. `watchdog: 50ms` sets `log`; null does nothing at all."""

    short_forms: ClassVar = ({"like": "log"},)

    log: Duration | None = Field(
        default=0.1,
        description="Python code that blocks the loop for longer is logged with its stack; null logs nothing.",
    )
    kill: Duration | None = Field(
        default=30.0,
        description="A worker that has not responded for so long is killed and replaced, checked every second; "
        "null never kills.",
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads a duration as `log`, and null as neither."""
        if value is None:
            return {"log": None, "kill": None}
        return value if isinstance(value, dict | cls) else {"log": value}
