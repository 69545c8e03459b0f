"""Alerts by webhook when an objective's error budget burns too fast, over several windows at once."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from headgate import ConfigError, FetchError, Plugin, PluginContext, Request, ResponseView

from ._burn import Count, add, within
from ._fields import check_name, check_value
from ._services import ServiceUrl, Trouble
from ._signatures import PREFIX, Secret, signature

WAITS = (0.0, 2.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Seconds before each attempt to tell a receiver."""
MOST_WAITING = 50


class Window(BaseModel):
    """A pair of windows: the alert is on while the budget burns too fast in both."""

    model_config = ConfigDict(extra="forbid")

    long: float = Field(gt=0, le=31 * 86400, description="Seconds of the long window: is it worth an alert?")
    short: float = Field(gt=0, description="Seconds of the short window: is it still going on?")
    burn: float = Field(
        gt=0, description="From which burn rate on; 1 uses up the budget just at the end of the period."
    )
    severity: str = Field(
        default="page", pattern=r"^[a-z0-9_-]{1,32}$", description="What receivers are told."
    )

    @model_validator(mode="after")
    def _order(self) -> Window:
        if self.short >= self.long:
            raise ConfigError(
                f"the short window of {self.short:g} s is not shorter than the long one of {self.long:g} s",
                hint="a twelfth is usual",
            )
        return self


USUAL = (
    Window(long=3600, short=300, burn=14.4, severity="page"),
    Window(long=21600, short=1800, burn=6, severity="page"),
    Window(long=259200, short=21600, burn=1, severity="ticket"),
)


class SloAlert(Plugin):
    """Tells a webhook when too many requests fail for an objective, and when that is over.

    The windows are by default those of Google's Site Reliability Workbook for 30 days: 2 % of the budget in an hour or
    5 % in six hours page, 10 % in three days are a ticket. An alert begins when the budget burns too fast in the long
    and in the short window, and ends when it does not in the short one. Messages are POSTs of JSON (`type`,
    `timestamp`, `data`), signed by the Standard Webhooks specification if there are `secrets`; one that is not taken
    is sent again, with the same id, for about nine minutes. Counts are those of the node; reloads keep them, a
    restart does not. Requests whose client left before the response are not counted.
    """

    order = -780

    class Config(BaseModel):
        """Settings of `slo-alert`."""

        model_config = ConfigDict(extra="forbid")

        name: str = Field(
            min_length=1, max_length=100, description="The objective's name, as receivers see it."
        )
        objective: float = Field(
            ge=50, lt=100, description="The percentage of requests that have to be good, such as 99.9."
        )
        url: ServiceUrl = Field(description="Where messages are sent to.")
        secrets: list[Secret] = Field(
            default=[], max_length=8, description="Secrets, as `whsec_...`, that messages are signed with."
        )
        headers: dict[str, SecretStr] = Field(
            default={}, description="More fields of the messages, such as `authorization`."
        )
        statuses: list[int] = Field(
            default=[500, 502, 503, 504], description="Statuses of responses that are not good."
        )
        slower_than: float | None = Field(
            default=None, gt=0, description="Requests that take longer, in seconds, are not good; null: any."
        )
        windows: list[Window] = Field(
            default=list(USUAL), min_length=1, max_length=8, description="Pairs of windows, each an alert."
        )
        min_requests: int = Field(
            default=20, ge=1, description="Fewer requests in the short window begin no alert."
        )
        check: float = Field(default=10, ge=0.01, description="Seconds between two looks at the windows.")
        timeout: float = Field(default=5, gt=0, description="Seconds for an attempt to send.")

        @field_validator("headers")
        @classmethod
        def _names(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
            for name, value in headers.items():
                check_name(name)
                check_value(name, value.get_secret_value())
            return headers

        @model_validator(mode="after")
        def _reachable(self) -> SloAlert.Config:
            for one in self.windows:
                if one.burn * (100 - self.objective) > 100:
                    raise ConfigError(
                        f"a burn rate of {one.burn:g} cannot be: at {self.objective:g} % the greatest is "
                        f"{100 / (100 - self.objective):.4g}",
                        hint="make `burn` smaller, or the objective higher",
                    )
            return self

    def setup(self, context: PluginContext) -> None:
        """Prepares the counts, and the timers."""
        config = self.config
        self._context = context
        self._budget = (100 - config.objective) / 100
        self._lengths = {length for one in config.windows for length in (one.long, one.short)}
        self._keys = [base64.b64decode(one.get_secret_value().removeprefix(PREFIX)) for one in config.secrets]
        self._table = context.shared("burn", "1m")
        self._statuses = frozenset(config.statuses)
        self._began = f"{context.name} began"
        self._total = self._bad = 0
        self._clock: Callable[[], float] = time.time
        self._waits = WAITS
        self._sending = 0
        self._sent, self._lost = context.counter("sent"), context.counter("lost")
        self._away = Trouble(
            context,
            "send_failures",
            "the receiver of alerts is unavailable",
            "the receiver is available again",
        )
        self._gauge = context.metrics.gauge(
            "burn_rate", "How fast the error budget is used up.", labels=["window"], merge="max"
        )
        context.every(1, self._flush)
        context.every(config.check, self._look, once_per="node")

    def request(self, request: Request) -> None:
        """Notes when it began."""
        if self.config.slower_than is not None:
            vars(request.state)[self._began] = time.monotonic()

    def log(self, request: Request, response: ResponseView | None) -> None:
        """Counts."""
        if response is None:
            return
        began = vars(request.state).pop(self._began, None)
        is_slow = began is not None and time.monotonic() - began > self.config.slower_than
        self._total += 1
        self._bad += is_slow or response.status in self._statuses

    def shutdown(self) -> None:
        """Passes on what was counted."""
        self._flush()

    def _flush(self) -> None:
        if self._total:
            add(self._table, self._lengths, self._clock(), Count(self._total, self._bad))
            self._total = self._bad = 0

    def _look(self) -> None:
        """Begins alerts, and ends them."""
        now = self._clock()
        counts = {length: within(self._table, length, now) for length in self._lengths}
        rates = {length: count.burn(self._budget) for length, count in counts.items()}
        for length, rate in rates.items():
            self._gauge.set(rate, f"{length:g}")
        for one in self.config.windows:
            key = f"on {one.long:g} {one.short:g} {one.burn:g} {one.severity}"
            is_on = bool(self._table.get(key, 0))
            is_hot = rates[one.short] >= one.burn
            if not is_on and is_hot and rates[one.long] >= one.burn:
                if counts[one.short].total >= self.config.min_requests:
                    self._table.set(key, 1)
                    self._tell("slo.burn.firing", one, counts, now)
            elif is_on and not is_hot:
                self._table.delete(key)
                self._tell("slo.burn.resolved", one, counts, now)

    def _tell(self, type: str, window: Window, counts: dict[float, Count], now: float) -> None:
        rates = {name: counts[getattr(window, name)] for name in ("long", "short")}
        shown = {name: round(count.burn(self._budget), 3) for name, count in rates.items()}
        self._context.log.warning(type, extra={"slo": self.config.name, "severity": window.severity, **shown})
        if self._sending >= MOST_WAITING:
            self._lost.add()
            return
        data = {
            "slo": self.config.name,
            "objective": self.config.objective,
            "severity": window.severity,
            "threshold": window.burn,
            "burn_rate": shown,
            "window_seconds": {"long": window.long, "short": window.short},
            "requests": {name: count.total for name, count in rates.items()},
            "bad": {name: count.bad for name, count in rates.items()},
        }
        moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        body = json.dumps({"type": type, "timestamp": moment, "data": data}).encode()
        self._sending += 1
        self._context.spawn(self._send(f"msg_{secrets.token_hex(16)}", body))

    async def _send(self, id: str, body: bytes) -> None:
        try:
            for wait in self._waits:
                await asyncio.sleep(wait)
                if await self._attempt(id, body):
                    self._sent.add()
                    return
            self._lost.add()
        finally:
            self._sending -= 1

    async def _attempt(self, id: str, body: bytes) -> bool:
        """Whether the receiver took it: with a status of 2xx."""
        moment = str(int(self._clock()))
        headers = {
            "content-type": "application/json",
            **{name: value.get_secret_value() for name, value in self.config.headers.items()},
            "webhook-id": id,
            "webhook-timestamp": moment,
        }
        if self._keys:
            headers["webhook-signature"] = " ".join(signature(key, id, moment, body) for key in self._keys)
        try:
            options: dict[str, Any] = {"method": "POST", "headers": headers, "body": body}
            async with asyncio.timeout(self.config.timeout):
                response = await self._context.fetch(self.config.url, timeout=self.config.timeout, **options)
            response.close()
        except (FetchError, OSError, TimeoutError) as error:
            self._away.begin(str(error) or type(error).__name__)
            return False
        if not 200 <= response.status < 300:
            self._away.begin(f"its status is {response.status}")
            return False
        self._away.end()
        return True
