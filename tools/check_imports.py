"""The import rules: who may use whom, in Rust (by Cargo.toml, and by paths inside a crate) and in Python (by syntax).

How it works: the tables below are the rules; `problems` reads a tree and returns one line per breach. Imports
under `if TYPE_CHECKING:` do not run and are not counted.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import rust_modules

# Rust: the crates of this workspace that each crate may depend on.
CRATES: dict[str, set[str]] = {
    "wire": set(),
    "coding": set(),
    "html": set(),
    "route": set(),
    "shared": set(),
    "net": {"wire"},
    "upstream": {"net", "wire", "route", "shared"},
    "engine": {"wire", "coding", "route", "shared", "net", "upstream"},
    "observe": {"shared"},
    "bridge": {"wire", "coding", "html", "route", "shared", "net", "upstream", "engine", "observe"},
}
# Crates of others that only one of ours may depend on.
RESERVED = {"pyo3": {"bridge"}, "tokio": {"net", "upstream", "engine", "observe", "bridge"}}
# What a crate without I/O and clock may not name.
PURE = {"wire", "coding", "html", "route"}
IMPURE = re.compile(
    r"\bstd::(fs|os|process|thread|io::std\w+)\b|\b(TcpStream|TcpListener|UdpSocket|UnixStream|ToSocketAddrs)\b"
    r"|\b(Instant|SystemTime)\b"
)
# `unsafe` stands only in the shared-memory crate and in one file of the bridge.
UNSAFE_CRATE, UNSAFE_BRIDGE_FILES = "shared", 1

# Rust, inside a crate: no ring of files over several folders, none of files beside `lib.rs`, none of more files.
RING_FILES = 4
# The rooms of the engine, from the roof to the ground: each uses only itself and those below it.
ENGINE_ROOMS = [
    "route_test",
    "worker",
    "sweep",
    "trace_export",
    "redis",
    "accept",
    "streams",
    "http/edge",
    "http/fetch",
    "http/connection",
    "http/exchange",
    "http/forward",
    "http/reply",
    "http/upgraded",
    "messages",
    "http/phases",
    "http/bodies",
    "http/h1",
    "state",
    "hooks",
    "tables",
    "http/files",
    "http/overload",
    "trace",
    "access_log",
    "snapshot",
    "failure",
    "http_date",
]

# Python: every room of src/headgate stands in one layer; a layer may import itself and those further down.
LAYERS = [
    ["cli", "__main__"],
    ["testing"],
    ["agent"],
    ["monitor", "shipping", "tunnel", "dispatch"],
    ["supervisor", "worker", "admin"],
    ["control", "stores", "acme", "discovery"],
    # which knows the built-in plugins by their names
    ["compile", "plugins"],
    ["isolation"],
    ["gateway", "_settings", "_plugin_uses", "_discovery"],
    ["_parts", "plugin", "plugin_context", "route", "listener", "_decorators", "_phase_decorators"],
    ["asgi", "background", "inspection", "profiling", "pull", "_on_demand"],
    [
        *[
            "native",
            "shared",
            "consumers",
            "target_secrets",
            "metrics",
            "redis",
            "client",
            "form",
            "message",
            "query_params",
        ],
        *["_cookies", "_redis_sessions", "server_state"],
        *["_tasks", "_request_body", "_hook_checks", "_caller"],
    ],
    ["config"],
    ["phases", "log", "_core", "_first_import", "pgwatch", "_digits", "_retry_after"],
]
# These talk to each other by messages only.
PROCESSES = {"supervisor", "worker", "agent", "admin", "monitor", "shipping", "dispatch"}
# But the agent loads a file and runs the engine as a worker does, and serves the Admin API.
AGENT_MAY = {
    "headgate.admin.app",
    "headgate.worker.loaded",
    "headgate.worker.loop",
    "headgate.worker.privileges",
    "headgate.worker.source",
}
# And the monitor, the shipper and the dispatcher give up root as they do.
SIDES = {"monitor", "shipping", "dispatch"}
SIDE_MAY = {"headgate.worker.privileges"}
# Files that need each other in a circle: at most so many, and of one folder.
MOST_IN_A_RING = 4
# The stores know the configuration only, and the library that PostgreSQL's is built on.
STORES_MAY = {"config", "pgwatch", "_digits"}
# Built-in plugins see what users see, and `plugins/_x.py`; one of them runs others in processes of their own.
PLUGINS_MAY_NAME = {"headgate", "headgate.plugin"}
NOBODY_IMPORTS = {"cli", "admin"}


def crate_problems(root: Path) -> Iterator[str]:
    """Breaches of the crate graph and of what a crate may name."""
    for crate, allowed in CRATES.items():
        manifest = tomllib.loads((root / "crates" / crate / "Cargo.toml").read_text())
        for section in ("dependencies", "dev-dependencies", "build-dependencies"):
            for dependency in manifest.get(section, {}):
                ours = dependency.removeprefix("headgate-")
                if dependency.startswith("headgate-") and ours != crate and ours not in allowed:
                    yield f"crates/{crate}: may not depend on `{dependency}`"
                if section == "dependencies" and crate not in RESERVED.get(dependency, {crate}):
                    owners = ", ".join(sorted(RESERVED[dependency]))
                    yield f"crates/{crate}: `{dependency}` is for {owners} only"


def rust_problems(root: Path) -> Iterator[str]:
    """Breaches inside the Rust files: I/O in pure crates, `unsafe` outside its rooms."""
    unsafe_in_bridge = []
    for path in sorted((root / "crates").glob("*/src/**/*.rs")):
        crate, name = path.relative_to(root / "crates").parts[0], path.relative_to(root)
        code = re.sub(r'//[^\n]*|"(?:\\.|[^"\\])*"', "", path.read_text()).split("#[cfg(test)]\nmod tests")[0]
        if crate in PURE and (found := IMPURE.search(code)):
            yield f"{name}: `{found[0]}` is I/O or a clock, which this crate has none of"
        if re.search(r"\bunsafe\b", code):
            if crate == "bridge":
                unsafe_in_bridge.append(name)
            elif crate != UNSAFE_CRATE:
                yield f"{name}: `unsafe` belongs in crates/{UNSAFE_CRATE} or one file of crates/bridge"
    if len(unsafe_in_bridge) > UNSAFE_BRIDGE_FILES:
        yield f"crates/bridge: `unsafe` in several files: {', '.join(map(str, unsafe_in_bridge))}"


def room_of(module: rust_modules.Module) -> str | None:
    """The room of the engine that a module stands in; None for one that the table does not name."""
    names = ("/".join(module[:depth]) for depth in (2, 1))
    return next((name for name in names if name in ENGINE_ROOMS), None)


def ring_problems(root: Path) -> Iterator[str]:
    """Rings of files in a crate: over several folders, beside `lib.rs`, or of too many files."""
    for src in sorted((root / "crates").glob("*/src")):
        graph = rust_modules.uses(src)
        for ring in rust_modules.rings(graph):
            folders = {module[:1] for module in ring}
            names = ", ".join(map(rust_modules.shown, ring))
            if len(folders) > 1:
                where = "files of several folders (or beside `lib.rs`)"
                yield f"crates/{src.parent.name}: {where} need each other: {names}"
            elif len(ring) > RING_FILES:
                yield f"crates/{src.parent.name}: more than {RING_FILES} files need each other: {names}"


def room_problems(root: Path) -> Iterator[str]:
    """Modules of the engine that stand in no room, or use a room above theirs."""
    for module, targets in sorted(rust_modules.uses(root / "crates" / "engine" / "src").items()):
        room, name = room_of(module), rust_modules.shown(module)
        if room is None:
            if module not in ((), ("http",)):
                yield f"crates/engine: `{name}` stands in no room that ENGINE_ROOMS names"
            continue
        for target in sorted(targets):
            above = room_of(target)
            if above is not None and ENGINE_ROOMS.index(above) < ENGINE_ROOMS.index(room):
                yield f"crates/engine: `{name}` may not use `{rust_modules.shown(target)}`: a room above it"


def imported(path: Path, module: str, *, items: bool = False) -> Iterator[str]:
    """The full names of the modules that a file imports when it runs; with `items`, of what it takes from them."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            # `from headgate import config` names a module where there is one, else an item of the package
            yield from (
                (f"{start}.{alias.name}" for alias in node.names) if items or start == "headgate" else [start]
            )
        pending += ast.iter_child_nodes(node)


def rank(room: str) -> int:
    """The height of a room of src/headgate: 0 for the lowest layer, -1 for a room that is in none."""
    return next((len(LAYERS) - 1 - i for i, layer in enumerate(LAYERS) if room in layer), -1)


def python_modules(root: Path) -> dict[str, Path]:
    """The modules of the package by their full names."""
    package = root / "src" / "headgate"
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = [part for part in path.relative_to(package).with_suffix("").parts if part != "__init__"]
        modules[".".join(("headgate", *parts))] = path
    return modules


def python_problems(root: Path) -> Iterator[str]:
    """Breaches of the Python layers, and rings of files."""
    package = root / "src" / "headgate"
    entries = [p for p in package.iterdir() if p.suffix in ("", ".py", ".pyi") and p.stem != "__init__"]
    rooms = {p.stem if p.is_file() else p.name for p in entries if p.name not in ("py.typed", "__pycache__")}
    for room in sorted(room for room in rooms if rank(room) < 0):
        yield f"src/headgate/{room}: is in no layer of tools/check_imports.py; name it in one"
    for module, path in python_modules(root).items():
        if module == "headgate":
            continue
        for name in imported(path, module):
            if name.partition(".")[0] != "headgate":
                continue
            target = [*name.split("."), ""][1]
            target = target if target in rooms else ""  # an item of the package itself
            parts = path.relative_to(package).with_suffix("").parts
            yield from judge(path.relative_to(root), parts, target, name)
    for ring in rings(python_graph(root)):
        is_across = len({name.rpartition(".")[0] for name in ring}) > 1
        if is_across or len(ring) > MOST_IN_A_RING:
            kind = "files of several folders" if is_across else f"more than {MOST_IN_A_RING} files"
            yield f"src/headgate: {kind} need each other in a ring: {', '.join(ring)}"


def python_graph(root: Path) -> dict[str, set[str]]:
    """Which module imports which; a name from a package's `__init__` counts as the module it names, if any."""
    modules = python_modules(root)
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        graph[module] = set()
        for name in imported(path, module, items=True):
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name and name != module and modules[name].name != "__init__.py":
                graph[module].add(name)
    return graph


def rings(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of two and more nodes that all lead to each other (Tarjan 1972), the largest first."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_nodes: list[str] = []
    found = []
    for root in graph:
        path: list[tuple[str, Iterator[str]]] = []
        if root not in numbers:
            path.append((root, iter(sorted(graph[root]))))
            numbers[root] = lowest[root] = len(numbers)
            open_nodes.append(root)
        while path:
            node, targets = path[-1]
            target = next(targets, None)
            if target is None:
                path.pop()
                if path:
                    lowest[path[-1][0]] = min(lowest[path[-1][0]], lowest[node])
                if lowest[node] == numbers[node]:
                    start = open_nodes.index(node)
                    ring, open_nodes = sorted(open_nodes[start:]), open_nodes[:start]
                    found += [ring] if len(ring) > 1 else []
            elif target not in numbers:
                path.append((target, iter(sorted(graph[target]))))
                numbers[target] = lowest[target] = len(numbers)
                open_nodes.append(target)
            elif target in open_nodes:
                lowest[node] = min(lowest[node], numbers[target])
    return sorted(found, key=len, reverse=True)


def judge(where: Path, parts: tuple[str, ...], target: str, name: str) -> Iterator[str]:
    """What is wrong with the file `where` (its module `parts`) importing the room `target` as `name`."""
    room = parts[0]
    if room == "plugins":
        inside = name.startswith("headgate.plugins") and parts[1:] == ("__init__",)
        # what several plugins have in common: `plugins/_x.py`
        is_common = name.startswith("headgate.plugins._")
        if (
            target not in ("", "isolation", "native", "_digits")
            and name not in PLUGINS_MAY_NAME
            and not inside
            and not is_common
        ):
            yield f"{where}: a plugin uses the public API only, not `{name}`"
    elif room == "stores" and target not in {*STORES_MAY, "stores", ""}:
        yield f"{where}: a store knows `headgate.config` only, not `{name}`"
    elif (room == "agent" and name in AGENT_MAY) or (room in SIDES and name in SIDE_MAY):
        return
    elif target in NOBODY_IMPORTS and room != target and room != "__main__":
        yield f"{where}: nothing imports `{name}`"
    elif {room, target} <= PROCESSES and room != target:
        yield f"{where}: `headgate.{room}` talks to `headgate.{target}` by messages only"
    elif target and rank(target) > rank(room) >= 0:
        yield f"{where}: `headgate.{room}` may not import `{name}`, which is a layer above it"


def problems(root: Path) -> list[str]:
    """All breaches in a checkout, one line each."""
    return [
        *crate_problems(root),
        *rust_problems(root),
        *ring_problems(root),
        *room_problems(root),
        *python_problems(root),
    ]


if __name__ == "__main__":
    found = problems(Path(__file__).resolve().parent.parent)
    print("\n".join(found) or "import rules hold")
    sys.exit(bool(found))
