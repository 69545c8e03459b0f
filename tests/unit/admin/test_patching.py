"""JSON Merge Patch and JSON Patch, with the examples of RFC 7396 and RFC 6902."""

from typing import Any

import pytest

from headgate.admin.patching import json_patched, merge_patched
from headgate.admin.problems import Refusal


@pytest.mark.parametrize(
    ("before", "patch", "after"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patches_of_the_rfc(before: Any, patch: Any, after: Any) -> None:
    assert merge_patched(before, patch) == after


@pytest.mark.parametrize(
    ("before", "operations", "after"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "q"}], {"foo": "bar", "baz": "q"}),
        ({"foo": ["a", "c"]}, [{"op": "add", "path": "/foo/1", "value": "b"}], {"foo": ["a", "b", "c"]}),
        ({"foo": [1]}, [{"op": "add", "path": "/foo/-", "value": [2]}], {"foo": [1, [2]]}),
        ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
        (
            {"foo": ["a", "b", "c"]},
            [{"op": "move", "from": "/foo/0", "path": "/foo/2"}],
            {"foo": ["b", "c", "a"]},
        ),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        ({"a": 1}, [{"op": "copy", "from": "", "path": "/b"}], {"a": 1, "b": {"a": 1}}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
        ({"": 0}, [{"op": "remove", "path": "/"}], {}),
    ],
)
def test_json_patches_of_the_rfc(before: Any, operations: Any, after: Any) -> None:
    original = repr(before)
    assert json_patched(before, operations) == after
    assert repr(before) == original


@pytest.mark.parametrize(
    ("operation", "status"),
    [
        ({"op": "test", "path": "/a", "value": "1"}, 422),
        ({"op": "test", "path": "/a", "value": True}, 422),
        ({"op": "add", "path": "/list/3", "value": 1}, 422),
        ({"op": "add", "path": "/list/01", "value": 1}, 422),
        ({"op": "add", "path": "/no/b", "value": 1}, 422),
        ({"op": "add", "path": "/a/b", "value": 1}, 422),
        ({"op": "replace", "path": "/no", "value": 1}, 422),
        ({"op": "remove", "path": "/list/-"}, 422),
        ({"op": "move", "from": "/table", "path": "/table/b"}, 422),
        ({"op": "add", "path": "/~2", "value": 1}, 400),
        ({"op": "add", "path": "/b"}, 400),
        ({"op": "spam", "path": "/b"}, 400),
        ({"op": "copy", "path": "/b"}, 400),
        (None, 400),
    ],
)
def test_what_cannot_be_done_is_refused_whole(operation: Any, status: int) -> None:
    before = {"a": 1, "list": [1, 2], "table": {"b": 1}}
    with pytest.raises(Refusal) as refused:
        json_patched(before, [{"op": "remove", "path": "/list/0"}, operation])
    assert refused.value.status == status
    assert before == {"a": 1, "list": [1, 2], "table": {"b": 1}}
