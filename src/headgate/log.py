"""The error log: readable lines or JSON on stderr, through the standard library's logging.

How it works: everything logs to the logger `headgate` or below it, with facts as `extra`: `log.info("worker
ready", extra={"worker": 3})`. Both formats write those facts after the message. What is logged may come from a client:
only a record's own line begins at the margin, and what a terminal would act on is written as an escape. The standard
library is used because it is loaded anyway (asyncio needs it) and structlog would add 90 ms to the start.
"""

import json
import logging
import os
import re
import sys
import time
from typing import Any

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls but tab and line feed, what breaks or reorders lines, and bytes that were no UTF-8."""

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(format: str = "text", level: str = "info", to: str = "stderr") -> None:
    """Sends the log to `stderr`, `stdout`, `file:/path` or `syslog:...`; the last call counts.

    Raises `OSError` where the file or socket cannot be opened.
    """
    if format not in FORMATS:
        raise ValueError(f"unknown log format `{format}`\n  hint: one of {', '.join(FORMATS)}")
    if level not in LEVELS:
        raise ValueError(f"unknown log level `{level}`\n  hint: one of {', '.join(LEVELS)}")
    handler = _handler(to)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    former, root.handlers[:] = root.handlers[:], [handler]
    for one in former:
        one.close()
    root.setLevel(logging.WARNING)
    logging.getLogger("headgate").setLevel(level.upper())


def _handler(to: str) -> logging.Handler:
    kind, _, place = to.partition(":")
    if kind in ("stderr", "stdout"):
        return logging.StreamHandler(sys.stderr if kind == "stderr" else sys.stdout)
    import socket  # most gateways have no need of these
    from logging import handlers

    if kind == "file":
        # opens the file anew when it was moved
        return handlers.WatchedFileHandler(place, encoding="utf-8")
    if place.startswith("/"):
        return handlers.SysLogHandler(place)
    protocol, _, address = place.partition("://")
    host, _, port = address.rpartition(":")
    kinds = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
    return handlers.SysLogHandler((host.strip("[]"), int(port)), socktype=kinds[protocol])


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller gave as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _OWN}


class TextFormatter(logging.Formatter):
    """`2026-01-31T10:00:00.123Z info  [1234] worker ready worker=3`; further lines, as of a traceback, are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        told = "".join(f" {key}={_plain(value)}" for key, value in facts(record).items())
        level = record.levelname.lower()
        text = f"{_time(record)} {level:<7} [{os.getpid()}] {record.getMessage()}{told}"
        text += _traceback(self, record, "\n")
        return _HIDDEN.sub(_escape, text).replace("\n", "\n  ")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, pid, message, the facts, and `traceback`.

    A fact of one of these names gets a `_` behind it; one that JSON cannot say is written as Python shows it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One record as JSON."""
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": os.getpid(),
            "message": record.getMessage(),
        }
        if traceback := _traceback(self, record, ""):
            entry["traceback"] = traceback
        told = {f"{key}_" if key in entry else key: value for key, value in facts(record).items()}
        try:
            text = _json({**entry, **told})
        except (TypeError, ValueError):
            text = _json({**entry, **{key: repr(value) for key, value in told.items()}})
        return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _json(entry: dict[str, Any]) -> str:
    return json.dumps(entry, default=str, ensure_ascii=False, allow_nan=False)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8 (PEP 383)
        code -= 0xDC00
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def _time(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        value = str(value).lower()
    if isinstance(value, (list, tuple)):
        value = ",".join(str(one) for one in value)
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in ' "\n=' for c in text) else text


def _traceback(formatter: logging.Formatter, record: logging.LogRecord, before: str) -> str:
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return before + "\n".join(parts) if parts else ""
