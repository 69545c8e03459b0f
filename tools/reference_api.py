"""The reference page of the public Python API: every name with its signature and docstring, read from the source.

How it works: the syntax tree is read, not the objects, so that the engine's classes (by their stub) and Python's look
alike, and types are written as their authors wrote them.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import headgate
import headgate.inspection
import headgate.native
import headgate.pull
import headgate.testing

SOURCE = Path(headgate.__file__).parent
ROOMS: dict[str, tuple[ModuleType, dict[str, str]]] = {
    "headgate": (headgate, headgate._MODULES),
    "headgate.testing": (headgate.testing, headgate.testing._MODULES),
    "headgate.pull": (headgate.pull, {"Worker": "worker", "Job": "job", "BodyTooLarge": "job"}),
    "headgate.native": (
        headgate.native,
        {
            name: "actions"
            for name in headgate.native.__all__
            if name not in ("Passed", "Period", "Tally", "can_set")
        }
        | {"can_set": "telling"},
    ),
    "headgate.inspection": (headgate.inspection, {"Hit": "inspection"}),
}
Definition = ast.FunctionDef | ast.AsyncFunctionDef
Described = tuple[ast.stmt, str]
"""A statement of a module or a class, and what is said about it."""


def page() -> str:
    """The whole page, without its first line."""
    lines = [
        "# Python\n",
        "All public names of `headgate`. Names that are not listed here are not public and may change.\n",
    ]
    for module, (package, rooms) in ROOMS.items():
        lines.append(f"## `{module}`\n")
        said = ast.get_docstring(_tree(_file(module))) or ""
        lines.append(said.partition("\n\n")[0] + "\n")
        for name in package.__all__ if module != "headgate.inspection" else ["Hit"]:
            if name in rooms:
                lines += _section(name, f"{module}.{rooms[name]}")
    return "\n".join(lines)


def _section(name: str, module: str) -> Iterator[str]:
    found = _definition(name, module)
    if found is None:
        raise LookupError(f"`{name}` is not in {module}")
    statement, said = found
    if isinstance(statement, ast.ClassDef):
        yield f"### `{name}{_constructor(statement, module)}`\n"
        yield _prose(said)
        members = list(_members(statement, module))
        if members:
            yield "\n".join(members) + "\n"
    elif isinstance(statement, Definition):
        yield f"### `{_signature(statement)}`\n"
        yield _prose(said)
    else:
        yield f"### `{name}`\n"
        yield _prose(said)


def _constructor(statement: ast.ClassDef, module: str) -> str:
    for one, _ in _described(statement.body):
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            return f"({_parameters(one)})"
    for base in _bases(statement, module):
        if constructor := _constructor(*base):
            return constructor
    return ""


def _members(statement: ast.ClassDef, module: str) -> Iterator[str]:
    """A line for each public method, property, field; those of bases of ours too."""
    given: set[str] = set()
    pending = [(statement, module)]
    while pending:
        current, home = pending.pop(0)
        settable = {
            one.name
            for one in current.body
            if isinstance(one, ast.FunctionDef)
            and any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in one.decorator_list)
        }
        told: dict[str, str] = {}
        for one, said in _described(current.body):
            name, shown = _member(one, settable)
            if name and not name.startswith("_") and name not in given and (said or name not in told):
                told[name] = f"- `{shown}`" + (f": {_flat(said)}" if said else "")
        given |= set(told)
        yield from told.values()
        pending += _bases(current, home)


def _member(one: ast.stmt, settable: set[str]) -> tuple[str, str]:
    if isinstance(one, Definition):
        kinds = {d.id for d in one.decorator_list if isinstance(d, ast.Name)}
        if "property" in kinds:
            shown = f"{one.name}: {ast.unparse(one.returns) if one.returns else 'Any'}"
            return one.name, shown + (" (can be set)" if one.name in settable else "")
        if one.name in settable and any(isinstance(d, ast.Attribute) for d in one.decorator_list):
            return "", ""
        return one.name, _signature(one)
    if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
        return one.target.id, f"{one.target.id}: {ast.unparse(one.annotation)}"
    if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
        return one.targets[0].id, one.targets[0].id
    return "", ""


def _described(body: list[ast.stmt]) -> Iterator[Described]:
    """The statements with their docstrings, also those that stand below an assignment."""
    for one, after in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(one, ast.ClassDef | Definition):
            yield one, ast.get_docstring(one) or ""
        elif isinstance(one, ast.Assign | ast.AnnAssign):
            is_said = (
                isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            )
            yield one, " ".join(after.value.value.split()) if is_said else ""  # type: ignore[attr-defined]


def _definition(name: str, module: str) -> Described | None:
    """The statement that defines a name, in its module or where that imports it from."""
    tree = _tree(_file(module))
    found: Described | None = None
    for one, said in _described(tree.body):
        targets = one.targets if isinstance(one, ast.Assign) else [getattr(one, "target", one)]
        names = [getattr(target, "id", getattr(target, "name", "")) for target in targets]
        if name in names and (found is None or said):
            found = one, said
    return found


def _bases(statement: ast.ClassDef, module: str) -> list[tuple[ast.ClassDef, str]]:
    """The base classes that are ours and not public by themselves."""
    bases = []
    for base in statement.bases:
        name = base.id if isinstance(base, ast.Name) else ""
        home = _imported_from(name, module) or module
        if not home.startswith("headgate"):
            continue
        found = _definition(name, home) if _file(home).exists() else None
        if found and isinstance(found[0], ast.ClassDef):
            bases.append((found[0], home))
    return bases


def _imported_from(name: str, module: str) -> str | None:
    package = module.rpartition(".")[0]
    for one in ast.walk(_tree(_file(module))):
        if isinstance(one, ast.ImportFrom) and any(alias.name == name for alias in one.names):
            start = package.rsplit(".", one.level - 1)[0] if one.level > 1 else package
            return f"{start}.{one.module}" if one.level else one.module
    return None


def _signature(function: Definition) -> str:
    awaited = "await " if isinstance(function, ast.AsyncFunctionDef) else ""
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"{awaited}{function.name}({_parameters(function)}){returns}"


def _parameters(function: Definition) -> str:
    arguments = function.args
    is_static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
    text = ast.unparse(arguments)
    first = (arguments.posonlyargs + arguments.args)[:1]
    if first and first[0].arg in ("self", "cls") and not is_static:
        text = text.removeprefix(first[0].arg).removeprefix(", ").removeprefix("/").removeprefix(", ")
    return text


def _prose(said: str) -> str:
    return f"{said}\n" if said else ""


def _flat(said: str) -> str:
    """A docstring as one line of a list."""
    return " ".join(said.split())


def _file(module: str) -> Path:
    path = SOURCE.joinpath(*module.split(".")[1:])
    for candidate in (path.with_suffix(".pyi"), path.with_suffix(".py"), path / "__init__.py"):
        if candidate.exists() and candidate != SOURCE.with_suffix(".py"):
            return candidate
    return path.with_suffix(".py")


_trees: dict[Path, ast.Module] = {}


def _tree(path: Path) -> ast.Module:
    if path not in _trees:
        _trees[path] = tree = ast.parse(path.read_text())
        _unquote(tree)
    return _trees[path]


def _unquote(tree: ast.Module) -> None:
    """Writes types that stand in quotes, because they are defined later, as the others."""
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            said = getattr(node, field, None)
            if isinstance(said, ast.Constant) and isinstance(said.value, str):
                setattr(node, field, ast.parse(said.value, mode="eval").body)
