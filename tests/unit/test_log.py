import json
import logging
import sys

import pytest

from headgate import log


def record(message: str, **facts: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {
            "name": "headgate.test",
            "levelname": "WARNING",
            "levelno": 30,
            "msg": message,
            "created": 0.5,
            "msecs": 500,
        }
    )
    vars(made).update(facts)
    return made


def test_text_line_has_time_level_message_and_facts() -> None:
    line = log.TextFormatter().format(record("worker exited", worker=7, cause="a b"))
    assert line.startswith("1970-01-01T00:00:00.500Z warning [")
    assert line.endswith('] worker exited worker=7 cause="a b"')


def test_json_line_is_one_object() -> None:
    entry = json.loads(log.JsonFormatter().format(record("worker exited", worker=7)))
    assert entry["message"] == "worker exited" and entry["level"] == "warning" and entry["worker"] == 7


@pytest.mark.parametrize("formatter", [log.TextFormatter(), log.JsonFormatter()])
def test_traceback_is_written_once(formatter: logging.Formatter) -> None:
    try:
        raise ValueError("no such thing")
    except ValueError:
        made = record("hook failed", exc_info=sys.exc_info())
    assert formatter.format(made).count("Traceback (most recent call last)") == 1


def test_json_stays_one_line_with_a_traceback() -> None:
    try:
        raise ValueError("x")
    except ValueError:
        made = record("hook failed", exc_info=sys.exc_info())
    assert "\n" not in log.JsonFormatter().format(made)


def test_unknown_format_and_level_are_refused() -> None:
    with pytest.raises(ValueError, match="hint: one of text, json"):
        log.configure(format="xml")
    with pytest.raises(ValueError, match="hint: one of debug"):
        log.configure(level="loud")
