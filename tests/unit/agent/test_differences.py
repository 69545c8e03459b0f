"""Differences of routes lead to what a whole build leads to, for the engine and for those who keep resources."""

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.agent.configuration import MOST_ROUTES, Base, Built
from headgate.agent.following import differing
from headgate.agent.state import plain
from headgate.control import resource_memory
from headgate.stores import Key, Resource, Revision, Snapshot

FILE = {
    "listeners": ":0",
    "upstreams": {"api": "127.0.0.1:9"},
    "routes": [{"path": "/", "respond": "here"}, {"name": "own", "path": "/own", "to": "127.0.0.1:7"}],
}
UPSTREAM = Key("upstreams", "other")
DOCUMENTS: list[dict[str, Any]] = [
    {"path": "/a", "respond": "a"},
    {"path": "/b/*", "to": "api", "methods": ["GET"], "priority": 2},
    {"path": "/{x}", "host": "a.com", "redirect": "/{x}/y", "headers": {"x-a": "1"}},
    {"path": "/c", "to": "127.0.0.1:7", "strip_prefix": "/c", "timeouts": {"connect": "2s"}},
    {"path": "/d", "respond": {"status": 404}, "max_body_bytes": 0},
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return base_of(tmp_path_factory.mktemp("differences"), FILE)


def base_of(folder: Path, file: dict[str, Any]) -> Base:
    (folder / "gate.json").write_text(json.dumps(file))
    return Base(folder / "gate.json")


def snapshot(documents: dict[Key, dict[str, Any]], number: int, before: Snapshot | None = None) -> Snapshot:
    known = before.resources if before else {}
    resources = {
        key: known[key]
        if key in known and known[key].document == document
        else Resource(key, document, number)
        for key, document in documents.items()
    }
    return Snapshot(Revision("e", number), MappingProxyType(resources))


def differs(base: Base, before: Built, documents: dict[Key, dict[str, Any]], number: int) -> Built | None:
    after = snapshot(documents, number, before.snapshot)
    return base.differing(before, after, differing(before.snapshot, after))


def test_any_sequence_of_differences_is_what_a_whole_build_is(base: Base) -> None:
    names = st.sampled_from(["a", "B", "c-1", "z"])
    step = st.dictionaries(names, st.none() | st.sampled_from(DOCUMENTS), min_size=1)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(step, min_size=1, max_size=6))
    def check(steps: list[dict[str, dict[str, Any] | None]]) -> None:
        documents: dict[Key, dict[str, Any]] = {UPSTREAM: {"servers": ["127.0.0.1:8"]}}
        built = base.build(snapshot(documents, 1))
        kept = json.dumps(plain(built.snapshot)).encode()
        engine = json.loads(built.loaded.snapshot)
        for number, step in enumerate(steps, 2):
            for name, document in step.items():
                documents.pop(Key("routes", name), None)
                if document is not None:
                    documents[Key("routes", name)] = document
            next_one = differs(base, built, documents, number)
            assert next_one is not None and next_one.difference is not None
            assert next_one.difference.base == built.label != next_one.label
            told = json.loads(next_one.difference.told)
            apply(engine, told)
            kept += b"\n" + json.dumps(next_one.difference.resources).encode()
            built = next_one
        whole = base.build(snapshot(documents, 99))
        assert engine == json.loads(whole.loaded.snapshot)
        assert by_kind(resource_memory.merged(kept)) == by_kind(plain(built.snapshot))
        assert built.merged.gateway.config == whole.merged.gateway.config

    check()


def apply(engine: dict[str, Any], told: dict[str, Any]) -> None:
    first = engine["first_resource_route"]
    routes = {route["name"]: route for route in engine["routes"][first:]}
    for name in told["removed"]:
        del routes[name]
    routes |= {route["name"]: route for route in told["set"]}
    engine["routes"][first:] = [route for _, route in sorted(routes.items())]


def by_kind(told: dict[str, Any]) -> dict[str, Any]:
    """Without kinds of which there are none."""
    return {
        key: {kind: of for kind, of in value.items() if of} if isinstance(value, dict) else value
        for key, value in told.items()
    }


ONE = Key("routes", "one")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {UPSTREAM: {"servers": ["127.0.0.1:8"]}}),
        ({}, {ONE: {"path": "/x", "to": "127.0.0.1:1"}}),
        ({ONE: {"path": "/x", "to": "127.0.0.1:1"}}, {}),
        ({ONE: {"path": "/x", "to": "127.0.0.1:1"}}, {ONE: {"path": "/x", "respond": "x"}}),
        ({}, {ONE: {"path": "/x", "to": "missing"}}),
        ({}, {ONE: {"path": "/x"}}),
        ({}, {ONE: {"path": "/x", "respond": "x", "client_certificate": "required"}}),
        ({}, {ONE: {"path": "/x", "files": "./missing"}}),
        ({}, {ONE: {"path": "/x", "plugin_sets": ["missing"], "respond": "x"}}),
        ({}, {ONE: {"path": "x", "respond": "x"}}),
        ({}, {ONE: {"path": "/x", "respond": "x", "when": "module:function"}}),
        ({}, {Key("routes", "own"): {"path": "/x", "respond": "x"}}),
        ({}, {Key("routes", f"r{n}"): {"path": "/x", "respond": "x"} for n in range(MOST_ROUTES + 1)}),
    ],
    ids=lambda documents: ",".join(map(str, list(documents)[:2])) or "nothing",
)
def test_what_leads_to_other_parts_or_is_wrong_is_built_whole(
    base: Base, before: dict[Key, dict[str, Any]], after: dict[Key, dict[str, Any]]
) -> None:
    assert differs(base, base.build(snapshot(before, 1)), after, 2) is None


def test_plugins_of_some_routes_only_are_looked_at_with_the_whole(tmp_path: Path) -> None:
    use = {"plugin": "headgate.plugins:RequestId"}
    wanted = {ONE: {"path": "/x", "respond": "x"}}
    for uses, takes in (([use], True), ([{**use, "on": "/a/*"}], False)):
        base = base_of(tmp_path, {**FILE, "plugins": uses})
        built = differs(base, base.build(snapshot({}, 1)), wanted, 2)
        assert (built is not None) is takes
        if built is not None and built.difference is not None:
            engine = json.loads(base.build(snapshot({}, 1)).loaded.snapshot)
            apply(engine, json.loads(built.difference.told))
            assert engine == json.loads(base.build(snapshot(wanted, 2)).loaded.snapshot)


def test_nothing_is_a_difference_to_what_workers_have_loaded_themselves(base: Base) -> None:
    built = base.build(snapshot({}, 1))
    built.label = ""
    assert differs(base, built, {ONE: {"path": "/x", "respond": "x"}}, 2) is None
