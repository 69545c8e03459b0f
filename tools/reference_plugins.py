"""The pages of the reference about plugins: an index with their order, and one page each from its settings."""

import importlib
import inspect
import re
import runpy
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from headgate.phases import PHASES
from headgate.plugin import Plugin
from headgate.plugins import BUILT_IN

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "plugins"
COST = re.compile(r"^\| `([\w-]+)`([^|]*)\| ([\d., then]+) \| ([\d.]+) \|$", re.MULTILINE)

Kind = Callable[[Any], str]
Default = Callable[[FieldInfo, str], str]


def found(name: str) -> type[Plugin]:
    """The class of a built-in plugin."""
    module, _, class_name = BUILT_IN[name].partition(":")
    kind: type[Plugin] = getattr(importlib.import_module(module), class_name)
    return kind


def pages(kind: Kind, default: Default, made: str) -> dict[str, str]:
    """Every page by its file; `kind` and `default` write a setting's type and default, `made` stands at the top."""
    each = {f"plugins/{name}.md": page(name, kind, default, made) for name in BUILT_IN}
    return {"plugins.md": index(made), **each}


def index(made: str) -> str:
    """The page that lists all of them in the order in which they run."""
    lines = [made, "# Plugins\n"]
    lines.append(
        "The built-in plugins by their short names, as used with `plugin:` in a file. In Python they are "
        "classes of `headgate.plugins` that take the settings as keywords. How to use them is in "
        "[the guide](../guide/plugins.md).\n"
    )
    lines.append(
        "They run in this order in phases of the request and in the reverse in phases of the response, wherever a file "
        "names them; `order` of a use says otherwise. Uses that need to know the consumer run at 50 or later.\n"
    )
    lines += ["| order | plugin | |", "|---|---|---|"]
    for name in sorted(BUILT_IN, key=lambda one: (found(one).order, one)):
        first = inspect.cleandoc(found(name).__doc__ or "").partition("\n\n")[0].replace("\n", " ")
        lines.append(f"| {found(name).order} | [`{name}`](plugins/{name}.md) | {first} |")
    return "\n".join(lines)


def page(name: str, kind: Kind, default: Default, made: str) -> str:
    """One plugin: what it does, an example, its settings."""
    plugin = found(name)
    lines = [made, f"# `{name}`\n", f"{inspect.cleandoc(plugin.__doc__ or '')}\n"]
    phases = ", ".join(f"`{phase}`" for phase in plugin.phases if PHASES[phase].scope != "worker")
    lines.append(
        f"In Python `headgate.plugins.{plugin.__name__}`; order {plugin.order}; hooks of {phases}. "
        "[All plugins](../plugins.md).\n"
    )
    lines.append(f"{cost(name)}\n")
    lines += ["```yaml", (EXAMPLES / f"{name}.yaml").read_text().rstrip(), "```\n"]
    for model in models(plugin.Config):
        if model is plugin.Config:
            lines.append("## Settings\n")
        else:
            lines += [f"## {model.__name__}\n", f"{inspect.cleandoc(model.__doc__ or '')}\n"]
        lines += table(model, kind, default)
    return "\n".join(lines)


def cost(name: str) -> str:
    """What it costs a request, by the newest figures of bench/RESULTS.md, or why it is not measured."""
    measured = (ROOT / "bench" / "RESULTS.md").read_text().partition("## Plugins\n")[2].partition("\n## ")[0]
    found = [
        f"{natively.rpartition('then ')[2].strip()} us{more.rstrip()} ({python.strip()} us with every hook in Python)"
        for kind, more, natively, python in COST.findall(measured)
        if kind == name
    ]
    if found:
        return f"A request costs {'; '.join(found)} more than without it, as measured in `bench/RESULTS.md`."
    why = runpy.run_path(str(ROOT / "bench" / "plugins.py"))["NOT_MEASURED"].get(name)
    if why is None:
        return "What it costs a request is shown by `bench/plugins.py`."
    return f"What it costs a request is not in the table of `bench/RESULTS.md`: it {why}."


def table(model: type[BaseModel], kind: Kind, default: Default) -> Iterator[str]:
    """The settings of a model."""
    yield "| setting | type | default | |\n|---|---|---|---|"
    for key, field in model.model_fields.items():
        text = (field.description or "").replace("|", "\\|")
        cells = [
            f"`{field.alias or key}`",
            kind(field.annotation),
            " ".join(default(field, "").split()),
            text,
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""


def models(model: type[BaseModel]) -> list[type[BaseModel]]:
    """A model and those that its settings are made of, each once."""
    every = [model]
    for one in every:
        for field in one.model_fields.values():
            every += [inner for inner in parts(field.annotation) if inner not in every]
    return every


def parts(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a type names."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from parts(argument)
