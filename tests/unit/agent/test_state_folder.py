"""The last good configuration on the disk: the whole, and what differed since."""

import json
import logging
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from headgate.agent.state import LAST_GOOD, LEAST_DIFFERENCES_BYTES, StateFolder
from headgate.stores import Key, Resource, Revision, Snapshot


def snapshot(number: int, documents: dict[str, Any]) -> Snapshot:
    found = {
        Key("routes", name): Resource(Key("routes", name), one, number) for name, one in documents.items()
    }
    return Snapshot(Revision("e", number), MappingProxyType(found))


def difference(number: int, name: str, document: Any) -> dict[str, Any]:
    line = [["routes", name, document, number]]
    return {"revision": str(Revision("e", number)), "set": line, "removed": [["routes", "gone"]]}


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(str(tmp_path))


def test_differences_are_added_and_read_again(folder: StateFolder) -> None:
    folder.save(snapshot(1, {"gone": {"path": "/"}, "a": {"path": "/a"}}))
    whole = (folder.path / LAST_GOOD).read_bytes()
    folder.save(snapshot(9, {}), [difference(2, "b", {"path": "/b"}), difference(3, "a", {"path": "/c"})])
    kept = (folder.path / LAST_GOOD).read_bytes()
    assert kept.startswith(whole) and kept.count(b"\n") == 3
    found = folder.last_good()
    assert found is not None and found.revision == Revision("e", 3)
    assert {key.name: (one.document, one.revision) for key, one in found.resources.items()} == {
        "a": ({"path": "/c"}, 3),
        "b": ({"path": "/b"}, 2),
    }


def test_a_line_that_was_not_finished_does_not_count(folder: StateFolder) -> None:
    folder.save(snapshot(1, {"a": {"path": "/a"}}))
    folder.save(snapshot(9, {}), [difference(2, "b", {"path": "/b"})])
    kept = (folder.path / LAST_GOOD).read_bytes()
    (folder.path / LAST_GOOD).write_bytes(kept + json.dumps(difference(3, "c", {"path": "/c"})).encode()[:-9])
    found = folder.last_good()
    assert found is not None and {key.name for key in found.resources} == {"a", "b"}


def test_the_file_does_not_grow_for_ever(folder: StateFolder) -> None:
    folder.save(snapshot(1, {"a": {"path": "/a"}}))
    long = "x" * 4096
    for number in range(2, 40):
        folder.save(snapshot(number, {"a": {"path": long}}), [difference(number, "a", {"path": long})])
        assert (folder.path / LAST_GOOD).stat().st_size < 2 * LEAST_DIFFERENCES_BYTES
    found = folder.last_good()
    assert found is not None and found.revision.number == 39


def test_all_is_written_where_the_file_is_not_as_it_was_left(folder: StateFolder) -> None:
    folder.save(snapshot(1, {"a": {"path": "/a"}}))
    (folder.path / LAST_GOOD).write_bytes(b"other")
    folder.save(snapshot(2, {"b": {"path": "/b"}}), [difference(2, "b", {"path": "/b"})])
    found = folder.last_good()
    assert found is not None and {key.name for key in found.resources} == {"b"}


def test_what_cannot_be_written_is_logged_and_comes_with_the_next(
    folder: StateFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.save(snapshot(1, {"a": {"path": "/a"}}))
    folder.path = tmp_path / "missing"
    with caplog.at_level(logging.ERROR, "headgate.agent"):
        folder.save(snapshot(2, {"b": {"path": "/b"}}), [difference(2, "b", {"path": "/b"})])
    assert "cannot keep the last good configuration" in caplog.text
    folder.path = tmp_path
    folder.save(snapshot(3, {"b": {"path": "/b"}, "c": {}}), [difference(3, "c", {})])
    found = folder.last_good()
    assert found is not None and {key.name for key in found.resources} == {"b", "c"}
