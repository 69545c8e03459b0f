"""precompressed: which file clients get, and what the head says of it."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import brotli
import pytest

from headgate import ConfigError, Gateway
from headgate.plugins import Compression, Precompressed
from headgate.testing import TestGateway, TestResponse

TEXT = b"let a = 1;\n" * 500
ALL = {"accept-encoding": "gzip, br, zstd"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for name in ("app.js", "sub/index.html", "a b.css", "plain.txt"):
        (root / name).write_bytes(TEXT)
    for name in ("app.js", "sub/index.html", "a b.css"):
        (root / f"{name}.br").write_bytes(brotli.compress(TEXT))
        (root / f"{name}.gz").write_bytes(gzip.compress(TEXT))
    (root / "alone.js.br").write_bytes(b"x")
    (tmp_path / "secret.js").write_bytes(b"secret")
    (tmp_path / "secret.js.br").write_bytes(b"secret")
    return root


@pytest.fixture
def gateway(folder: Path) -> Iterator[TestGateway]:
    gate = Gateway()
    route = gate.route("/assets/*", files=str(folder), strip_prefix="/assets")
    gate.use(Precompressed(root=str(folder), strip_prefix="/assets"), on=route)
    gate.use(Compression(types=["text/plain"]))
    with TestGateway(gate) as running:
        yield running


def ask(gateway: TestGateway, path: str, **headers: Any) -> TestResponse:
    return gateway.get(f"/assets{path}", {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0, *", "gzip"),
        ("zstd", None),
        ("", None),
        ("identity, gzip;q=0", None),
    ],
)
def test_clients_get_the_file_in_a_coding_that_they_take(
    gateway: TestGateway, accept: str, coding: str | None
) -> None:
    response = ask(gateway, "/app.js", accept_encoding=accept)
    undo: Any = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[coding]
    assert (response.status, undo(response.body)) == (200, TEXT)
    assert response.headers.get("content-encoding") == coding
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["vary"] == "Accept-Encoding"


def test_each_coding_has_a_tag_of_its_own_which_is_recognized(gateway: TestGateway) -> None:
    tags = [ask(gateway, "/app.js", accept_encoding=one).headers["etag"] for one in ("br", "gzip", "")]
    assert len(set(tags)) == 3
    for coding, tag in zip(("br", "gzip", ""), tags, strict=True):
        again = ask(gateway, "/app.js", accept_encoding=coding, if_none_match=tag)
        assert (again.status, again.headers["vary"]) == (304, "Accept-Encoding")
    assert ask(gateway, "/app.js", accept_encoding="br", if_none_match=tags[1]).status == 200


def test_names_with_escapes_and_folders_are_found(gateway: TestGateway) -> None:
    css = ask(gateway, "/a%20b.css", **ALL)
    assert (css.headers["content-type"], css.headers["content-encoding"]) == ("text/css; charset=utf-8", "br")
    page = ask(gateway, "/sub/", **ALL)
    assert (page.headers["content-type"], brotli.decompress(page.body)) == ("text/html; charset=utf-8", TEXT)


def test_other_files_are_as_they_were(gateway: TestGateway) -> None:
    plain = ask(gateway, "/plain.txt", accept_encoding="gzip")
    assert gzip.decompress(plain.body) == TEXT and plain.headers.get_all("vary") == ["Accept-Encoding"]
    assert ask(gateway, "/none.js", **ALL).status == ask(gateway, "/alone.js", **ALL).status == 404
    assert gateway.post("/assets/app.js", headers=ALL).status == 405


@pytest.mark.parametrize(
    "path", ["/../secret.js", "/%2e%2e/secret.js", "/..%2fsecret.js", "/sub/../../secret.js", "/%00", "/%ff"]
)
def test_nothing_outside_the_folder_is_served(gateway: TestGateway, path: str) -> None:
    response = ask(gateway, path, **ALL)
    assert response.status in (400, 404) and b"secret" not in response.body


def test_a_link_that_leads_out_is_not_followed(gateway: TestGateway, folder: Path) -> None:
    (folder / "out.js").symlink_to(folder.parent / "secret.js")
    assert ask(gateway, "/out.js", **ALL).status == 404


def test_a_folder_with_the_name_of_a_compressed_file_is_left_alone(
    gateway: TestGateway, folder: Path
) -> None:
    (folder / "plain.txt.br").mkdir()
    response = ask(gateway, "/plain.txt", accept_encoding="br")
    assert (response.status, response.headers.get("location")) == (200, None)


def test_a_compressed_file_that_is_older_is_left_alone(gateway: TestGateway, folder: Path) -> None:
    os.utime(folder / "app.js.br", (1, 1))
    assert ask(gateway, "/app.js", **ALL).headers["content-encoding"] == "gzip"
    os.utime(folder / "app.js.gz", (1, 1))
    assert ask(gateway, "/app.js", **ALL).body == TEXT


@pytest.mark.parametrize(
    "settings",
    [
        {"root": "/none"},
        {"strip_prefix": "a"},
        {"strip_prefix": "/a/"},
        {"codings": []},
        {"codings": ["x"]},
        {"index": "a/b"},
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        Precompressed(**{"root": str(tmp_path), **settings})
