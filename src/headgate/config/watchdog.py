"""What is done about code that blocks the event loop."""

from typing import Any, ClassVar

from pydantic import Field

from .settings import Settings
from .units import Duration


class WatchdogConfig(Settings):
    """Detection of code that blocks the event loop. `watchdog: 50ms` sets `log`; null disables both."""

    short_forms: ClassVar = ({"like": "log"},)

    log: Duration | None = Field(
        default=0.1,
        description="Python code that blocks the event loop for longer is logged with its stack; null: no log.",
    )
    kill: Duration | None = Field(
        default=30.0,
        description=(
            "A worker that does not respond for this time is killed and replaced, checked every second; "
            "null: never."
        ),
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads a duration as `log`, and null as neither."""
        if value is None:
            return {"log": None, "kill": None}
        return value if isinstance(value, dict | cls) else {"log": value}
