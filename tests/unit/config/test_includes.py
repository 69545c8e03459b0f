"""Configurations of several files, and what the environment says of them."""

from pathlib import Path

import pytest

from headgate.compile.loading import load
from headgate.config.errors import ConfigError


def written(folder: Path, **files: str) -> Path:
    """Files by name, `__` for `/`; gives the path of `gate.yaml`."""
    for name, text in files.items():
        file = folder / (name.replace("__", "/") + ".yaml")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return folder / "gate.yaml"


def test_included_files_are_part_of_the_whole_in_the_order_of_their_names(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        gate="listeners: ':1'\ninclude: [conf.d/*.yaml, last.yaml]\nroutes: [{name: first, respond: x}]\n",
        conf__b="",
        last="routes: [{name: last, to: a}]\n",
    )
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "2.yaml").write_text("routes: [{name: two, to: b}]\nupstreams: {b: 'b:1'}\n")
    (tmp_path / "conf.d" / "1.yaml").write_text(
        "routes: [{name: one, to: a}]\nupstreams: {a: 'a:1'}\nlimits: {max_body_bytes: 1k}\n"
    )
    config = load(file).config
    assert [route.name for route in config.routes] == ["first", "one", "two", "last"]
    assert list(config.upstreams) == ["a", "b"] and config.limits.max_body_bytes == 1024


def test_what_is_wrong_in_an_included_file_is_told_with_its_own_line(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        gate="include: more.yaml\nroutes: [{name: first, respond: x}]\n",
        more="\nroutes:\n  - {name: a, respond: x}\n  - {name: b, pth: /}\n",
    )
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert str(refused.value.problems[0].where) == f"{tmp_path / 'more.yaml'}:4"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"gate": "include: a.yaml\n", "a": "include: gate.yaml\n"}, "files include each other"),
        ({"gate": "include: gate.yaml\n"}, "files include each other: `gate.yaml` includes `gate.yaml`"),
        ({"gate": "include: [a.yaml, ./a.yaml]\n", "a": ""}, "is included twice"),
        ({"gate": "include: nothing.yaml\n"}, "the included file `nothing.yaml` does not exist"),
        ({"gate": "include: {a: b}\n"}, "`include` is a path, or a list of them"),
        ({"gate": "include: a.yaml\nworkers: 1\n", "a": "workers: 2\n"}, "`workers` is set twice"),
        (
            {"gate": "include: a.yaml\nupstreams: {a: 'a:1'}\n", "a": "upstreams: {a: 'b:1'}\n"},
            "`upstreams.a` is set twice",
        ),
    ],
)
def test_files_that_contradict_each_other_are_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(written(tmp_path, **files))
    assert message in refused.value.message and refused.value.line is not None


def test_a_glob_may_find_nothing(tmp_path: Path) -> None:
    assert load(written(tmp_path, gate="include: conf.d/*.yaml\nworkers: 3\n")).config.workers == 3


@pytest.mark.parametrize("name", ["gate.yaml", "gate.py"])
def test_the_environment_has_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "gate.yaml").write_text("workers: 1\nlimits: {max_body_bytes: 1k}\n")
    (tmp_path / "gate.py").write_text(
        "from headgate import Gateway\ngate = Gateway()\ngate.workers(1)\ngate.limits(max_body_bytes='1k')\n"
    )
    monkeypatch.setenv("HEADGATE_CONFIG_WORKERS", "4")
    monkeypatch.setenv("HEADGATE_CONFIG_LIMITS__MAX_BODY_BYTES", "2k")
    monkeypatch.setenv("HEADGATE_CONFIG_LIMITS__MAX_HEADER_FIELDS", "7")
    config = load(tmp_path / name).config
    assert (config.workers, config.limits.max_body_bytes, config.limits.max_header_fields) == (4, 2048, 7)


@pytest.mark.parametrize("name", ["gate.yaml", "gate.py"])
@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("HEADGATE_CONFIG_WORKERZ", "4", "did you mean `workers`?"),
        ("HEADGATE_CONFIG_WORKERS", "many", "a whole number"),
        ("HEADGATE_CONFIG_LIMITS__", "1", "names no setting"),
        ("HEADGATE_CONFIG_LIMITS", "[", "is not valid YAML"),
    ],
)
def test_a_wrong_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, variable: str, value: str, message: str
) -> None:
    (tmp_path / "gate.yaml").write_text("workers: 1\n")
    (tmp_path / "gate.py").write_text("from headgate import Gateway\ngate = Gateway()\n")
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / name)
    assert message in str(refused.value) and refused.value.file == variable


@pytest.mark.parametrize(
    ("listen", "server"),
    [
        ("127.0.0.1:9144", address)
        for address in (
            "127.0.0.1:9144",
            "localhost:9144",
            "[::1]:9144",
            "0.0.0.0:9144",
            "127.9.9.9:9144",
            "LOCALHOST.:9144",
            "127.1:9144",
            "2130706433:9144",
            "0x7f.0.0.1:9144",
            "0177.1:9144",
            "[::ffff:127.0.0.1]:9144",
            "0:9144",
        )
    ]
    + [("unix:/run/admin.sock", "unix:/run/admin.sock")],
)
@pytest.mark.parametrize(
    "place", ["upstreams: {{a: '{}'}}", "routes: [{{to: '{}'}}]", "tcp: [{{address: ':1', to: '{}'}}]"]
)
def test_no_way_leads_through_the_gateway_to_its_own_admin_api(
    tmp_path: Path, listen: str, server: str, place: str
) -> None:
    tokens = "" if listen.startswith("unix:") else ", tokens: '0123456789abcdef'"
    text = f"admin: {{listen: '{listen}'{tokens}}}\n{place.format(server)}\n"
    with pytest.raises(ConfigError) as refused:
        _ = load(written(tmp_path, gate=text)).config
    assert "is the Admin API of this gateway" in refused.value.message or "is not" in refused.value.message
