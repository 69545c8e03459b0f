"""What a user is told when a configuration is refused: where, what, and the nearest right name."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Union, get_args, get_origin

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]
"""Keys and positions from the top of a configuration to one value in it."""


LONGEST_MESSAGE = 2000


class Where(NamedTuple):
    """A line of a file; `line` is `None` when only the file is known."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


Locate = Callable[[Path], Where | None]
"""Finds the line that says what stands at a path."""


class Problem(NamedTuple):
    """One refused thing: the message names the value in backticks, the hint says what to write instead."""

    message: str
    hint: str | None = None
    where: Where | None = None
    path: Path = ()
    """The place in the configuration, for errors about one."""

    def __str__(self) -> str:
        text = self.message if self.where is None else f"{self.where}: {self.message}"
        return text if self.hint is None else f"{text}\n  hint: {self.hint}"


class ConfigError(ValueError):
    """The configuration is invalid. `problems` has every problem that was found, in the order of the file."""

    def __init__(
        self, message: str | Sequence[Problem], *, hint: str | None = None, where: Where | None = None
    ) -> None:
        single = isinstance(message, str)
        self.problems: tuple[Problem, ...] = (
            (Problem(str(message), hint, where),) if single else tuple(message)  # type: ignore[arg-type]
        )
        self.problems = tuple(problem._replace(message=_cut(problem.message)) for problem in self.problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @property
    def message(self) -> str:
        """The first problem's message."""
        return self.problems[0].message

    @property
    def hint(self) -> str | None:
        """The first problem's hint."""
        return self.problems[0].hint

    @property
    def file(self) -> str | None:
        """The file of the first problem, where known."""
        where = self.problems[0].where
        return where.file if where else None

    @property
    def line(self) -> int | None:
        """The line of the first problem, counted from 1, where known."""
        where = self.problems[0].where
        return where.line if where else None

    def at(self, where: Where | None) -> "ConfigError":
        """The same error, with `where` for each problem without a location."""
        return ConfigError([p if p.where else p._replace(where=where) for p in self.problems])

    def moved(self, locate: Locate) -> "ConfigError":
        """The same error, with each location looked up again."""
        return ConfigError([p._replace(where=locate(p.path)) for p in self.problems])


_ELSEWHERE = {
    "backend": "to",
    "proxy": "to",
    "proxy_pass": "to",
    "return": "respond",
    "reverse_proxy": "to",
    "root": "files",
    "server_name": "host",
    "upstream": "to",
}
"""What other gateways call things, with the word for it here."""


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like `name`, or what is called so elsewhere; `None` when none is alike."""
    import difflib  # seldom needed: 1 ms that `headgate proxy` need not wait for

    by_folded = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=0.6)
    if found:
        return by_folded[found[0]]
    foreign = {word: ours for word, ours in _ELSEWHERE.items() if ours in by_folded}
    found = difflib.get_close_matches(name.lower(), foreign, n=1, cutoff=0.75)
    return by_folded[foreign[found[0]]] if found else None


def suggestion(name: str, choices: Iterable[str]) -> str | None:
    """A hint: the nearest choice, or all of them when none is near; `None` when there are no choices."""
    listed = list(choices)
    near = nearest(name, listed)
    if near is not None:
        return f"did you mean `{near}`?"
    return f"one of {', '.join(f'`{choice}`' for choice in listed)}" if listed else None


def refusal(
    error: "ValidationError", model: "type[BaseModel]", *, prefix: Path = (), locate: Locate | None = None
) -> ConfigError:
    """Turns pydantic's error about `model`, which stands at `prefix`, into one in this project's words."""
    from .secretive import MASK, hides, without_secrets  # which is seldom needed, as this is

    problems: list[Problem] = []
    details = error.errors(include_url=False)
    for detail in details:
        cause = detail.get("ctx", {}).get("error")
        # A check across the whole model has no path of pydantic's; it brings its own.
        inner = getattr(cause, "path", None) or tuple(part for part in detail["loc"] if part != "[key]")
        if detail["type"] == "too_short" and _has_refused_items(detail["loc"], details):
            continue  # Only short of the items that are refused anyway.
        if detail["type"] == "missing" and _is_given_by_its_old_name(inner, details, model):
            continue
        path = (*prefix, *inner)
        # null, true and false are no secrets
        if not isinstance(detail.get("input"), bool | None) and hides(model, inner):
            detail = {**detail, "input": MASK}
        message, hint = _wording(dict(detail), path, inner, model)
        problems.append(Problem(without_secrets(message), hint, locate(path) if locate else None, path))
    problems.sort(key=lambda problem: (problem.where.line or 0) if problem.where else 0)
    return ConfigError(problems)


def _cut(message: str) -> str:
    """What is given may be a file's whole text."""
    return message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 3]}..."


def _has_refused_items(loc: Path, details: "list[ErrorDetails]") -> bool:
    return any(len(one["loc"]) > len(loc) and one["loc"][: len(loc)] == loc for one in details)


def _is_given_by_its_old_name(inner: Path, details: "list[ErrorDetails]", model: "type[BaseModel]") -> bool:
    old = {now: then for then, now in _renamed_at(model, inner[:-1]).items()}.get(str(inner[-1]))
    return any(one["type"] == "extra_forbidden" and one["loc"] == (*inner[:-1], old) for one in details)


def _renamed_at(model: Any, path: Path) -> dict[str, str]:
    for part in path:
        model = _step(model, part)
    renamed: dict[str, str] = getattr(_bare(model), "renamed", {})
    return renamed


def dotted(path: Path) -> str:
    """`("routes", 0, "to")` as `routes[0].to`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_LENGTHS = {"string_too_short": ("at least", "min_length"), "string_too_long": ("at most", "max_length")}
_BOUND_HINTS = {"weight": "to take a server out of service, remove it, or mark it `backup`"}

_KINDS = {
    ("tuple_", "list_"): ("a list", "write `[...]`, or one item per line after `- `"),
    ("model_", "dict_"): ("a table", "write its keys below it, or remove it"),
    ("string_type",): ("a text", "put it in quotes"),
    ("int_",): ("a whole number", "write digits only, such as `10`"),
    ("float_",): ("a number", "write digits, such as `0.5`"),
    ("bool_",): ("`true` or `false`", "write it without quotes"),
}
"""Beginnings of pydantic's names for wrong types, what should have stood there, and how that is written."""


def _wording(
    detail: dict[str, Any], path: Path, inner: Path, model: "type[BaseModel]"
) -> tuple[str, str | None]:
    kind, given, name = detail["type"], detail.get("input"), dotted(path)
    if kind == "extra_forbidden":
        key, parent = str(path[-1]), dotted(path[:-1])
        place = f" in `{parent}`" if parent else ""
        if now := _renamed_at(model, inner[:-1]).get(key):
            return f"the key `{key}`{place} has been renamed", f"write `{now}`"
        return f"unknown key `{key}`{place}", suggestion(key, _keys_at(model, inner[:-1]))
    if kind == "missing":
        parent = dotted(path[:-1])
        return f"`{path[-1]}` is missing" + (f" in `{parent}`" if parent else ""), f"add `{path[-1]}`"
    if kind == "literal_error":
        choices = [
            choice.strip("'") for choice in detail["ctx"]["expected"].replace(" or ", ", ").split(", ")
        ]
        return f"`{name}` cannot be `{_shown(given)}`", suggestion(str(given), choices)
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        limits = f"{word} {detail['ctx'][bound]}"
        hint = _BOUND_HINTS.get(str(path[-1]), f"write {limits}, or remove it for the default")
        return f"`{name}` must be {limits}, not `{_shown(given)}`", hint
    if kind == "string_pattern_mismatch":
        return (
            f"`{name}` cannot be `{_shown(given)}`",
            f"it must match the regular expression `{detail['ctx']['pattern']}`",
        )
    if kind == "finite_number":
        return f"`{name}` must be a finite number, not `{_shown(given)}`", "write digits, such as `10`"
    if kind == "path_type":
        return f"`{name}` must be a path, not `{_shown(given)}`", "write it as a text"
    if kind in _LENGTHS:
        word, bound = _LENGTHS[kind]
        limits = f"{word} {detail['ctx'][bound]}"
        return f"`{name}` must have {limits} characters, not `{_shown(given)}`", f"write {limits} characters"
    if kind == "too_short":
        return f"`{name}` is empty", f"it must have at least {detail['ctx']['min_length']}"
    for beginnings, (wanted, hint) in _KINDS.items():
        if kind.startswith(beginnings):
            if path[-1:] == ("to",) and isinstance(given, list | tuple | dict):
                hint = "several servers are an upstream: write them below `upstreams`, and its name here"
            return f"`{name or 'the whole'}` must be {wanted}, not `{_shown(given)}`", hint
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        return (f"`{name}`: {cause.message}" if name else cause.message), cause.hint
    text = str(cause) if cause is not None else detail["msg"][:1].lower() + detail["msg"][1:]
    return (f"`{name}`: {text}, not `{_shown(given)}`" if name else text), None


def _shown(value: Any) -> str:
    """The value as files write it: null, true and false; long ones are cut."""
    text = (
        {None: "null", True: "true", False: "false"}.get(value)
        if value is None or isinstance(value, bool)
        else None
    )
    from .secretive import without_secrets

    text = without_secrets(str(value)) if text is None else text  # before it is cut
    return text if len(text) <= 80 else f"{text[:77]}..."


def _keys_at(model: Any, path: Path) -> list[str]:
    """The keys of the table that stands at `path` under `model`; none when it is not a table of ours."""
    for part in path:
        model = _step(model, part)
    fields = getattr(_bare(model), "model_fields", {})
    return list(fields)


def _step(annotation: Any, part: str | int) -> Any:
    kind = _bare(annotation)
    fields = getattr(kind, "model_fields", None)
    if fields is not None:
        return fields[part].annotation if part in fields else None
    arguments = [argument for argument in get_args(kind) if argument is not Ellipsis]
    return arguments[-1] if arguments else None


def _bare(annotation: Any) -> Any:
    """`Model | None` as `Model`; `Annotated` has already been taken off by pydantic."""
    import types

    if get_origin(annotation) in (Union, types.UnionType):
        return next((a for a in get_args(annotation) if a is not type(None)), None)
    return annotation
