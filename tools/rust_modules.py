"""The modules of a Rust crate and which of them use which, as far as paths show it.

How it works: a file is a module. `use` statements and inline `crate::` and `super::` paths are resolved to the
file of the module that they name; a re-export leads to the module that re-exports. Tests are left out: they may
use everything.
"""

import re
from collections.abc import Iterator
from pathlib import Path

Module = tuple[str, ...]
Graph = dict[Module, set[Module]]

NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"', re.DOTALL)
TESTS = re.compile(r"#\[cfg\(test\)\]\s*mod \w+")
USE = re.compile(r"\buse\s+([^;]+);")
INLINE = re.compile(r"\b(?:crate|super)(?:::[a-z_0-9]+)+")


def shown(module: Module) -> str:
    """A module as people write it: `http/forward`, or `lib` for the crate itself."""
    return "/".join(module) or "lib"


def modules(src: Path) -> dict[Module, str]:
    """The text of each module of a crate, without comments, strings and tests."""
    found = {}
    for path in src.rglob("*.rs"):
        parts = list(path.relative_to(src).with_suffix("").parts)
        if "tests" in parts or parts[-1] == "main":
            continue
        if parts[-1] in ("mod", "lib"):
            parts.pop()
        found[tuple(parts)] = TESTS.split(NOISE.sub("", path.read_text()))[0]
    return found


def paths(tree: str, prefix: Module = ()) -> Iterator[Module]:
    """The paths of a use tree: `a::{b, c::{d}}` names `a::b` and `a::c::d`."""
    depth, word = 0, ""
    for character in tree + ",":
        if character == "," and depth == 0:
            head, brace, inner = word.strip().partition("{")
            start = (*prefix, *(part.strip() for part in head.split(" as ")[0].split("::") if part.strip()))
            if brace:
                yield from paths(inner.rsplit("}", 1)[0], start)
            elif len(start) > len(prefix):
                yield start
            word = ""
            continue
        depth += (character == "{") - (character == "}")
        word += character


def named(text: str) -> Iterator[Module]:
    """Every path that a module's text names."""
    for statement in USE.findall(text):
        yield from paths(" ".join(statement.split()))
    for inline in INLINE.findall(USE.sub("", text)):
        yield tuple(inline.split("::"))


def resolved(path: Module, module: Module, known: dict[Module, str]) -> Module | None:
    """The module that a path leads to; None for one of another crate."""
    if (*module, path[0]) in known:
        path = ("self", *path)
    first, rest = path[0], path[1:]
    if first not in ("crate", "super", "self"):
        return None
    base = () if first == "crate" else module
    if first == "super":
        base = module[:-1]
        while rest[:1] == ("super",):
            base, rest = base[:-1], rest[1:]
    target = (*base, *rest)
    while target and target not in known:
        target = target[:-1]
    return target


def uses(src: Path) -> Graph:
    """Which modules of a crate use which. The crate's root, which only shows what there is, is left out."""
    known = modules(src)
    graph: Graph = {}
    for module, text in known.items():
        targets = {resolved(path, module, known) for path in named(text)}
        graph[module] = {target for target in targets if target and target != module}
    return graph


def rings(graph: Graph) -> list[list[Module]]:
    """The sets of modules that need each other in a circle, largest first (Tarjan's strongly connected components)."""
    index: dict[Module, int] = {}
    low: dict[Module, int] = {}
    stack: list[Module] = []
    found: list[list[Module]] = []

    def visit(module: Module) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(graph.get(module, ())):
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            at = stack.index(module)
            ring = sorted(stack[at:])
            del stack[at:]
            if len(ring) > 1:
                found.append(ring)

    for module in sorted(graph):
        if module not in index:
            visit(module)
    return sorted(found, key=len, reverse=True)
