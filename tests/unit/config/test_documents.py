"""Documents: values and lines of YAML, TOML and JSON."""

import contextlib
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate._core import read_yaml
from headgate.config._yaml import load, load_with_lines
from headgate.config.documents import Document, _json_lines, read_document
from headgate.config.errors import ConfigError, Where


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def document(folder: Path, name: str, text: str) -> Document:
    (folder / name).write_text(text)
    return read_document(folder / name)


YAML = """listeners: ':8080'
routes:
  - path: /a
    to: x
  -
    path: /b
    timeouts: {send: 1s,
      connect: 2s}
"""
TOML = """listeners = [":8080"]

[upstreams."my.api"]
servers = ["a:1"]

[[routes]]
path = "/a"
[routes.timeouts]
send = 1
[[routes]]
path = "/b"
timeouts.connect = 2
"""
JSON = '{\n "listeners": ":8080",\n "routes": [\n  {"path": "/a",\n   "to": "x"},\n  {"path": "/b"}\n ]\n}'


@pytest.mark.parametrize(
    ("name", "text", "path", "line"),
    [
        ("a.yaml", YAML, ("listeners",), 1),
        ("a.yaml", YAML, ("routes", 0, "to"), 4),
        ("a.yaml", YAML, ("routes", 1, "path"), 6),
        ("a.yaml", YAML, ("routes", 1, "timeouts", "connect"), 8),
        ("a.yaml", YAML, ("routes", 1, "missing"), 6),
        ("a.toml", TOML, ("listeners", 0), 1),
        ("a.toml", TOML, ("upstreams", "my.api", "servers"), 4),
        ("a.toml", TOML, ("routes", 0, "path"), 7),
        ("a.toml", TOML, ("routes", 0, "timeouts", "send"), 9),
        ("a.toml", TOML, ("routes", 1, "path"), 11),
        ("a.toml", TOML, ("routes", 1, "timeouts", "connect"), 12),
        ("a.json", JSON, ("listeners",), 2),
        ("a.json", JSON, ("routes", 0, "to"), 5),
        ("a.json", JSON, ("routes", 1, "path"), 6),
    ],
)
def test_the_line_of_a_key_is_known(
    folder: Path, name: str, text: str, path: tuple[str | int, ...], line: int
) -> None:
    assert document(folder, name, text).locate(path) == Where(str(folder / name), line)


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.yaml", "a: 1\nb: [\n", 3),
        ("a.yaml", "a: 1\na: 2\n", 2),
        ("a.yaml", "a: &x\n  b: *x\n", 1),
        ("a.yaml", "- 1\n", 1),
        ("a.toml", "a = 1\nb = \n", 2),
        ("a.json", '{\n "a": 1,\n}', 3),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(folder: Path, name: str, text: str, line: int) -> None:
    with pytest.raises(ConfigError) as refused:
        document(folder, name, text)
    assert refused.value.line is not None
    assert abs(refused.value.line - line) <= 1


def test_json_keys_given_twice_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="duplicate key `a`"):
        document(folder, "a.json", '{"a": 1, "a": 2}')


def test_the_line_of_a_duplicate_key_in_json_is_that_of_the_second(folder: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        document(folder, "a.json", '{"b": {"a": 0},\n "c": [{"a": 1,\n "a": 2}]}')
    assert refused.value.line == 3


def test_a_tab_in_yaml_is_called_a_tab(folder: Path) -> None:
    with pytest.raises(ConfigError, match="a tab cannot be used for indentation") as refused:
        document(folder, "a.yaml", "routes:\n  - path: /\n\tto: x\n")
    assert refused.value.line == 3


def test_tables_nested_without_end_are_refused(folder: Path) -> None:
    for name, text in (("a.json", "[" * 100_000), ("a.yaml", "[" * 100_000)):
        with pytest.raises(ConfigError):
            document(folder, name, text)


_PLAIN = st.recursive(
    st.sampled_from(
        ["a", "on", "~", "null", "1", "0x1F", "0o17", "-1.5e3", "true", "'1'", '"x"', "a b", "08", ""]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(item or '~' for item in items)}]"),
        st.lists(st.tuples(st.sampled_from(["a", "b", "c", "1", "on", "'1'"]), inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{name}: {value or '~'}" for name, value in pairs) + "}"
        ),
    ),
    max_leaves=12,
)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", "d"]), _PLAIN), max_size=4))
def test_plain_yaml_read_by_the_engine_is_what_the_tree_of_nodes_gives(pairs: list[tuple[str, str]]) -> None:
    text = "".join(f"{name}: {value}\n" for name, value in pairs)
    try:
        values = load_with_lines(text)[0]
    except yaml.YAMLError as error:
        with pytest.raises(yaml.YAMLError) as refused:
            load(text)
        assert str(refused.value) == str(error)
    else:
        assert repr(load(text)) == repr(values)


_PIECES = [
    *[
        "a",
        "b",
        ": ",
        ":",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        " ",
        "'x y'",
        '"q\\n"',
        '"\\u00e9"',
        " # c",
        "|",
        "|-",
        ">",
        "|2",
    ],
    *[
        "[",
        "]",
        "{",
        "}",
        ", ",
        "? ",
        "~",
        "0x1F",
        "1.5",
        "true",
        "<<",
        "é",
        "%",
        "http://x:80",
        "key: v",
        "- k: v",
    ],
    *[
        "---\n",
        "...",
        "!",
        "&",
        "*",
        "''",
        '"a\\\n  b"',
        "it''s",
        "1_0",
        "-0",
        "12345678901234567890",
        "t: {a: b}",
        "\t",
    ],
]


@settings(max_examples=500)
@given(st.lists(st.sampled_from(_PIECES), max_size=14).map("".join))
def test_both_readers_of_yaml_agree_on_what_both_take(text: str) -> None:
    try:
        values = load_with_lines(text)[0]
    except yaml.YAMLError:
        return
    with contextlib.suppress(ValueError):
        assert repr(read_yaml(text)) == repr(values)


def test_a_refusal_in_a_file_whose_lines_cannot_be_found_names_the_file(folder: Path) -> None:
    found = document(folder, "a.yaml", "...\nroutes: []\n")  # which YAML 1.2 allows, and libyaml does not
    assert found.values == {"routes": []}
    assert found.locate(("routes",)) == Where(str(folder / "a.yaml"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a: &x {b: 1}\nc: *x\n", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}\n", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("a: !!str 1\n", {"a": "1"}),
        ("a: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("--- {a: 1}\n", {"a": 1}),
        ("", None),
    ],
)
def test_what_is_not_plain_yaml_is_read_too(text: str, values: object) -> None:
    assert load(text) == values


def test_yaml_words_are_what_they_look_like(folder: Path) -> None:
    text = "on: yes\ntime: 1:30\nyes: true\nnone: ~\nempty:\nday: 2020-01-01\nfloat: 1.5\nport: 08\n"
    assert document(folder, "a.yaml", text).values == {
        "on": "yes",
        "time": "1:30",
        "yes": True,
        "none": None,
        "empty": None,
        "day": "2020-01-01",
        "float": 1.5,
        "port": 8,
    }


def test_an_empty_yaml_file_is_an_empty_configuration(folder: Path) -> None:
    assert document(folder, "a.yaml", "# nothing\n").values == {}


def test_a_schema_named_for_editors_is_no_setting(folder: Path) -> None:
    assert document(folder, "a.json", '{"$schema": "x"}').values == {}


def test_unknown_suffixes_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="not a configuration file"):
        document(folder, "a.ini", "")


def test_bytes_that_are_no_text_are_refused(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_document(folder / "a.yaml")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=4), _JSON, max_size=3))
def test_every_json_key_has_its_line(values: dict[str, object]) -> None:
    text = json.dumps(values, indent=1)
    lines = _json_lines(text)
    for key in values:
        assert json.dumps(key) in text.splitlines()[lines[(key,)] - 1]
