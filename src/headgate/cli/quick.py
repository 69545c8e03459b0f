"""Reads plain `proxy`, `run` and `check` command lines without typer, whose import and parsing take 100 ms.

How it works: it understands only well-formed command lines and gives up (None) at the least doubt: help, errors,
abbreviations, repeated options. Then typer reads the same arguments, with its messages. A test holds the two equal.
"""

import os
from typing import Any, NamedTuple

from headgate._digits import whole_number


class CommandLine(NamedTuple):
    """A command and its arguments, under the names of the functions in `serving`."""

    command: str
    arguments: dict[str, Any]


OPTIONS = {
    "workers": None,
    "pid_file": None,
    "user": None,
    "group": None,
    "log_format": "HEADGATE_LOG_FORMAT",
    "log_level": "HEADGATE_LOG_LEVEL",
}
"""Options of both commands, and the environment variables that may give them."""

COMMANDS: dict[str, tuple[str, dict[str, str | None]]] = {
    "proxy": ("listen", {"to": None, "access_log": None, **OPTIONS}),
    "run": ("file", OPTIONS),
}
"""For each command its one argument, and its options with a value."""


def read(words: list[str]) -> CommandLine | None:
    """The command line, if it is a plain one."""
    if words[:1] == ["check"]:
        return _check_line(words[1:])
    if not words or words[0] not in COMMANDS:
        return None
    argument, options = COMMANDS[words[0]]
    found: dict[str, Any] = {}
    rest = iter(words[1:])
    for word in rest:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            name, value = argument, word
        elif name.startswith("--") and name[2:].replace("-", "_") in options and "_" not in name:
            name = name[2:].replace("-", "_")
            value = value if equals else next(rest, "")
        elif word == "--reload" and words[0] == "run":
            name, value = "reload", "yes"
        elif word in ("--require-fips", "--keep-net-admin"):
            name, value = word[2:].replace("-", "_"), "yes"
        else:
            return None
        if not value or value.startswith("-") or (name in found and name != "to"):
            return None
        found.setdefault(name, []).append(value)
    return _command_line(words[0], argument, options, found)


def _check_line(words: list[str]) -> CommandLine | None:
    files = [word for word in words if word != "--strict"]
    if len(files) != 1 or len(words) - len(files) > 1 or not files[0] or files[0].startswith("-"):
        return None
    return CommandLine("check", {"file": files[0], "strict": len(words) > 1})


def _command_line(
    command: str, argument: str, options: dict[str, str | None], found: dict[str, list[str]]
) -> CommandLine | None:
    if argument not in found or (command == "proxy" and "to" not in found):
        return None
    if command == "proxy" and "://" in found[argument][0]:
        return None  # whether a certificate is to be ordered is not decided here
    arguments: dict[str, Any] = {argument: found[argument][0]}
    for name, variable in options.items():
        given = found[name][0] if name in found else os.environ.get(variable or "") or None
        arguments[name] = found[name] if name == "to" else given
    if (workers := arguments["workers"]) is not None:
        number = whole_number(workers)
        if number is None or not 1 <= number <= 1024:
            return None
        arguments["workers"] = number
    if arguments["pid_file"] and os.path.isdir(arguments["pid_file"]):
        return None
    arguments["require_fips"] = "require_fips" in found
    arguments["keep_net_admin"] = "keep_net_admin" in found
    if command == "run":
        arguments["reload"] = "reload" in found
    else:
        arguments["acme"] = None
    return CommandLine(command, arguments)
