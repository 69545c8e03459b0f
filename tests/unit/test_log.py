import json
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

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


HOSTILE = "a\n2026-01-01T00:00:00.000Z error   [1] forged\r\x1b[2Jb\x9b\x7f\u2028\u202e\udcff"
ESCAPED = "\\x0d\\x1b[2Jb\\x9b\\x7f\\u2028\\u202e\\xff"


def test_nothing_that_is_logged_makes_a_line_of_its_own_or_acts_on_a_terminal() -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        made = record(HOSTILE, path=HOSTILE, exc_info=sys.exc_info())
    text = log.TextFormatter().format(made)
    first, *others = text.split("\n")
    assert first.endswith("] a") and all(line.startswith("  ") for line in others)
    assert text.count(ESCAPED) >= 2 and "\x1b" not in text
    assert text.isprintable() or set(filter(lambda c: not c.isprintable(), text)) == {"\n"}
    assert "path=" in text and text.count("\n  2026") == 2  # the fact has its line break as an escape
    line = log.JsonFormatter().format(made)
    assert line.isprintable()
    assert (json.loads(line)["message"], json.loads(line)["path"]) == (HOSTILE, HOSTILE)


def test_facts_never_replace_what_a_record_says_of_itself() -> None:
    entry = json.loads(log.JsonFormatter().format(record("late", time="never", level="loud")))
    assert (entry["time"], entry["time_"]) == ("1970-01-01T00:00:00.500Z", "never")
    assert (entry["level"], entry["level_"]) == ("warning", "loud")


@pytest.mark.parametrize("fact", [float("nan"), {(1, 2): 3}])
def test_a_fact_that_json_cannot_say_is_shown_and_the_record_is_kept(fact: object) -> None:
    line = log.JsonFormatter().format(record("odd", fact=fact))
    assert json.loads(line, parse_constant=pytest.fail)["fact"] == repr(fact)


@pytest.mark.usefixtures("_same_handlers")
@pytest.mark.parametrize("format", ["text", "json"])
def test_a_file_takes_every_text(tmp_path: Path, format: str) -> None:
    log.configure(format, "info", f"file:{tmp_path}/errors.log")
    logging.getLogger("headgate.test").info("%s", HOSTILE + "日本")
    assert "日本" in (tmp_path / "errors.log").read_text("utf-8")


def test_unknown_format_and_level_are_refused() -> None:
    with pytest.raises(ValueError, match="hint: one of text, json"):
        log.configure(format="xml")
    with pytest.raises(ValueError, match="hint: one of debug"):
        log.configure(level="loud")


@pytest.fixture
def _same_handlers() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    ours = logging.getLogger("headgate").level
    root.handlers[:] = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = before
    root.setLevel(level)
    logging.getLogger("headgate").setLevel(ours)


@pytest.mark.usefixtures("_same_handlers")
def test_log_goes_to_a_file_and_to_a_new_one_when_that_is_moved(tmp_path: Path) -> None:
    log.configure("text", "info", f"file:{tmp_path}/errors.log")
    logging.getLogger("headgate.test").info("first")
    (tmp_path / "errors.log").rename(tmp_path / "errors.log.1")
    logging.getLogger("headgate.test").info("second")
    assert "first" in (tmp_path / "errors.log.1").read_text()
    assert "second" in (tmp_path / "errors.log").read_text()


@pytest.mark.usefixtures("_same_handlers")
@pytest.mark.parametrize("kind", ["unix", "udp"])
def test_log_goes_to_syslog(tmp_path: Path, kind: str) -> None:
    with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log") if kind == "unix" else ("127.0.0.1", 0))
        server.settimeout(5)
        place = str(tmp_path / "log") if kind == "unix" else f"udp://127.0.0.1:{server.getsockname()[1]}"
        log.configure("json", "info", f"syslog:{place}")
        logging.getLogger("headgate.test").info("told")
        assert b'"message": "told"' in server.recv(4096)


@pytest.mark.usefixtures("_same_handlers")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_log_goes_to_a_stream(stream: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("text", "info", stream)
    logging.getLogger("headgate.test").info("told")
    assert "told" in getattr(capsys.readouterr(), stream.replace("std", ""))


@pytest.mark.usefixtures("_same_handlers")
def test_log_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        log.configure("text", "info", f"file:{tmp_path}/missing/errors.log")
