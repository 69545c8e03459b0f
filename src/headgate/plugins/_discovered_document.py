"""What was learnt of an API as a document of OpenAPI 3.1, and read back from one."""

from __future__ import annotations

from typing import Any

from ._discovered import Seen, Tree

SCHEMAS: dict[str, dict[str, str]] = {
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "uuid": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date"},
    "string": {"type": "string"},
}


def document(tree: Tree, title: str) -> dict[str, Any]:
    """The tree as a document of OpenAPI 3.1."""
    paths: dict[str, Any] = {}
    for path, parameters, method, seen in tree.endpoints():
        said = [
            {"name": name, "in": "path", "required": True, "schema": SCHEMAS[kind]}
            for name, kind in parameters
        ]
        said += [
            {"name": name, "in": "query", "schema": SCHEMAS[kind]}
            for name, kind in sorted(seen.query.items())
        ]
        operation: dict[str, Any] = {
            "responses": {
                status: {
                    "description": f"{status} as it was seen",
                    **({"content": {kind: {} for kind in sorted(types)}} if types else {}),
                }
                for status, types in sorted(seen.statuses.items())
            },
            "x-headgate": {
                "calls": seen.calls,
                "without_credentials": seen.anonymous,
                "first_seen": seen.first,
                "last_seen": seen.last,
                **({"documented_as": seen.documented} if seen.documented else {}),
            },
        }
        if said:
            operation["parameters"] = said
        if seen.bodies:
            operation["requestBody"] = {"content": {kind: {} for kind in sorted(seen.bodies)}}
        paths.setdefault(path, {})[method] = operation
    return {"openapi": "3.1.0", "info": {"title": title, "version": "seen"}, "paths": paths}


def restore(tree: Tree, kept: Any) -> None:
    """Takes what an earlier document says; raises `KeyError`, `TypeError` or `ValueError` where it is not one."""
    for path, item in kept["paths"].items():
        for method, said in item.items():
            notes = said["x-headgate"]
            kinds = {
                one["name"]: next(
                    (kind for kind, schema in SCHEMAS.items() if schema == one["schema"]), "string"
                )
                for one in said.get("parameters", [])
            }
            names = {one["name"]: one["in"] for one in said.get("parameters", [])}
            shaped = "/".join(
                f"{{{kinds.get(part[1:-1], 'string')}}}" if part.startswith("{") else part
                for part in path.split("/")
            )
            seen = Seen(
                int(notes["calls"]),
                int(notes["without_credentials"]),
                int(notes["first_seen"]),
                int(notes["last_seen"]),
                str(notes.get("documented_as", "")),
                {name: kinds[name] for name, place in names.items() if place == "query"},
                set(said.get("requestBody", {}).get("content", {})),
                {status: set(one.get("content", {})) for status, one in said["responses"].items()},
            )
            tree.add(shaped, method, seen)
