"""Writes docs/reference from the code: the configuration model, the tables of phases and of failures, the
command line, the Python API.

`--check` writes nothing and fails if a page is not what the code says.
"""

import argparse
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import reference_api
import reference_plugins
import typer
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from headgate import _core
from headgate.cli.app import app
from headgate.cli.failing import EXIT_CODES
from headgate.config.model import GatewayConfig
from headgate.config.settings import Settings
from headgate.config.units import Duration, Size, shown_duration
from headgate.phases import PHASES

REFERENCE = Path(__file__).resolve().parent.parent / "docs" / "reference"
MADE = "<!-- Made by tools/reference.py from the code; `make docs` writes it anew. -->\n"
PLAIN = {
    bool: "true or false",
    int: "number",
    float: "number",
    str: "text",
    SecretStr: "text",
    type(None): "null",
    Any: "anything",
}


# ---- configuration
def kind(annotation: Any) -> str:
    """How a reader calls the type."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return kind(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(kind(a) for a in arguments)
    if origin is Literal:
        return ", ".join(f"`{a}`" for a in arguments)
    if origin in (tuple, list):
        return f"list of {kind(arguments[0])}"
    if origin in (dict, Mapping):
        return f"names with {kind(arguments[1])}"
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return f"[{title(annotation)}](#{title(annotation).lower().replace(' ', '-')})"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def written(model: type[Settings], name: str, field: FieldInfo) -> str:
    """The type of a field; times and sizes by their own names."""
    owner = next(c for c in model.__mro__ if name in vars(c).get("__annotations__", {}))
    source = typing.get_type_hints(owner, include_extras=True)[name]
    given = typing.get_args(source) if typing.get_origin(source) in (typing.Union, types.UnionType) else ()
    for alias, text in ((Duration, "time"), (Size, "size")):
        if source == alias or alias in given:
            return text + (" or null" if type(None) in given else "")
    return kind(field.annotation)


def default(field: FieldInfo, type_name: str) -> str:
    """The default as a file would say it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Settings) or value in ((), {}, ""):
        return ""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return ", ".join(f"`{one}`" for one in value)
    if isinstance(value, dict):
        return ", ".join(f"`{name}: {text}`" for name, text in value.items())
    return shown_duration(value) if type_name.startswith("time") else str(value)


def title(model: type[Settings]) -> str:
    """`UpstreamTimeoutsConfig` as `Upstream timeouts`."""
    name = model.__name__.removesuffix("Config")
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
    return words[:1].upper() + words[1:]


def parts(annotation: Any) -> Iterator[type[Settings]]:
    """The models that a type names."""
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from parts(argument)


def models() -> list[type[Settings]]:
    """The whole tree, each model once, parents first."""
    found: list[type[Settings]] = [GatewayConfig]
    for model in found:
        for field in model.model_fields.values():
            found += [part for part in parts(field.annotation) if part not in found]
    return found


def configuration() -> str:
    """The page about every key."""
    lines = [MADE, "# Configuration\n"]
    lines.append(
        "All keys of a `gate.yaml`, `.toml` or `.json` file. The Python API has the same names as keywords. A time "
        "is a number of seconds (`1.5`) or a text (`500ms`, `10s`, `5m`, `1h`); a size is a number of bytes or a text "
        "(`64k`, `16m`, `1g`). An unknown key is an error, which names the most similar valid key. `headgate config "
        "show FILE` prints all keys with their values, `headgate config schema` the JSON Schema.\n"
    )
    for model in models():
        lines += [f"## {title(model)}\n", f"{(model.__doc__ or '').strip()}\n", "| key | type | default | |"]
        lines.append("|---|---|---|---|")
        for name, field in model.model_fields.items():
            text = (field.description or "").replace("|", "\\|")
            type_name = written(model, name, field)
            cells = [f"`{field.alias or name}`", type_name, default(field, type_name), text]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


# ---- phases
def phases() -> str:
    """The page about every phase."""
    lines = [MADE, "# Phases\n"]
    lines.append(
        "The phases in which hooks run, in order. Any hook may be `def` or `async def`. "
        "Returning `None` continues; in phases with *may respond*, a `Response` that is returned ends the request.\n"
    )
    lines += [
        "| phase | hook | when | what it may do | may respond | order | OpenResty's name |",
        "|---" * 7 + "|",
    ]
    for phase in PHASES.values():
        order = "last listed first" if phase.reverse else "as listed"
        cells = [phase.name, f"`{phase.name}({', '.join(phase.arguments)})`", phase.when, phase.may]
        cells += ["yes" if phase.can_respond else "no", order, f"`{phase.openresty}`"]
        lines.append(f"| {' | '.join(cells)} |")
    scopes = {
        "worker": "the gateway; once per worker",
        "connection": "the gateway, listeners",
        "listener": "`tcp` and `udp` listeners",
        "gateway": "the gateway",
        "route": "the gateway, routes",
    }
    lines += ["", "Where hooks of a phase can be registered:", ""]
    lines += [f"- `{phase.name}`: {scopes[phase.scope]}" for phase in PHASES.values()]
    return "\n".join(lines) + "\n"


# ---- failures
RETRIES = {
    "never": "never",
    "idempotent": "idempotent methods",
    "reused": "idempotent methods; after a reused connection, first once more on the same server over a new one",
    "always": "always",
}


def failures() -> str:
    """The page about every kind of failure."""
    lines = [MADE, "# Failures\n"]
    lines.append(
        "What can go wrong with a request. `error` hooks see the kind as `error.kind`, the access log as `{error}`. "
        "*Status* is what the client gets if no `error` hook responds; 499 means that the client has disconnected "
        "and gets nothing. *Retry* says whether another server of the upstream is tried, provided that the upstream "
        "has `retries` left and that the part of the body already sent can be sent again (RFC 9110 section 9.2.2). "
        "*Log* is the level in the gateway's own log.\n"
    )
    titles = {
        "client": "Client",
        "upstream": "Upstream server",
        "gateway": "Gateway",
    }
    for source, heading in titles.items():
        lines += [f"## {heading}\n", "| kind | status | retry | log | meaning |", "|---" * 5 + "|"]
        for kind, of, status, retry, level, meaning in sorted(_core.failures()):
            if of == source:
                lines.append(f"| `{kind}` | {status} | {RETRIES[retry]} | {level} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


# ---- command line
def commands(command: Any, path: str) -> Iterator[str]:
    """A command's section, then its subcommands'."""
    if hasattr(command, "commands"):
        for name, sub in command.commands.items():
            yield from commands(sub, f"{path} {name}")
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not getattr(p, "hidden", False)]
    usage = " ".join([path, *(p.name.upper() for p in arguments), "[OPTIONS]"])
    yield f"## `{path}`\n"
    yield f"{(command.help or '').strip()}\n\n```\n{usage}\n```\n"
    shown = [(p.name.upper(), p) for p in arguments]
    shown += [(", ".join([*p.opts, *p.secondary_opts]), p) for p in options]
    if shown:
        yield "| | |\n|---|---|\n" + "".join(f"| `{name}` | {p.help or ''} |\n" for name, p in shown)


def command_line() -> str:
    """The page about every command."""
    lines = [MADE, "# Command line\n", f"{typer.main.get_command(app).help}\n", f"{EXIT_CODES}\n"]
    lines.append(
        "Output for programs goes to stdout, everything else to stderr. `headgate --install-completion` sets up the "
        "shell's completion.\n"
    )
    return "\n".join([*lines, *commands(typer.main.get_command(app), "headgate")])


def python() -> str:
    """The page about every public name."""
    return f"{MADE}\n{reference_api.page()}"


PAGES = {
    "configuration.md": configuration,
    "phases.md": phases,
    "failures.md": failures,
    "command-line.md": command_line,
    "python.md": python,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare")
    check = parser.parse_args().check
    stale = []
    pages = {name: page() for name, page in PAGES.items()}
    pages |= reference_plugins.pages(kind, default, MADE)
    gone = {str(file.relative_to(REFERENCE)) for file in REFERENCE.rglob("*.md")} - {*pages, "README.md"}
    for name in gone:
        stale.append(name)
        if not check:
            (REFERENCE / name).unlink()
    for name, page in pages.items():
        text, file = page.rstrip() + "\n", REFERENCE / name
        if check:
            stale += [name] if not file.exists() or file.read_text() != text else []
        else:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
    if stale and check:
        print(
            f"docs/reference is not what the code says: {', '.join(stale)}\n  hint: make docs",
            file=sys.stderr,
        )
    return bool(stale and check)


if __name__ == "__main__":
    sys.exit(main())
