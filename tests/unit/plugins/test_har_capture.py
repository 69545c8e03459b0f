"""har-capture: what is written of an exchange, that it holds no secret, and files that are whole and bounded."""

import base64
import json
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.plugins import HarCapture, KeyAuth
from headgate.plugins._har import TAIL, append
from headgate.plugins._masking import NAMES, Masking
from headgate.testing import Fault, TestGateway

SERVER = "server.test:80"
MASKING = Masking(["authorization"], NAMES, ["/reset/{token}/done", "/off/*"])


def running(folder: Path, server: Any = "ok", **settings: Any) -> TestGateway:
    gate = Gateway()
    gate.route("/", to=SERVER, name="all")
    gate.use(HarCapture(folder=str(folder), **{"percent": 100, **settings}))
    return TestGateway(gate, upstreams={SERVER: server}, raise_errors=False)


def entries(gateway: TestGateway, folder: Path, count: int = 1) -> list[dict[str, Any]]:
    def found() -> list[dict[str, Any]]:
        files = sorted(folder.glob("*.har"))
        return [one for file in files for one in json.loads(file.read_text())["log"]["entries"]]

    gateway.until(lambda: len(found()) >= count)
    return found()


def test_an_exchange_is_written_as_it_was(tmp_path: Path) -> None:
    server = Response(201, '{"a": 1.10}', headers=[("content-type", "application/json"), ("x-b", "2")])
    with running(tmp_path, server) as gateway:
        gateway.request("PUT", "/a%20b?x=1&y=%C3%A4", {"x-a": "1", "host": "site.example"}, body="text")
        (one,) = entries(gateway, tmp_path)
    asked, said = one["request"], one["response"]
    assert (asked["method"], asked["url"]) == ("PUT", "http://site.example/a%20b?x=1&y=%C3%A4")
    assert asked["queryString"] == [{"name": "x", "value": "1"}, {"name": "y", "value": "ä"}]
    assert {"name": "x-a", "value": "1"} in asked["headers"]
    assert asked["postData"]["text"] == "text"
    assert (said["status"], said["content"]["text"], said["content"]["size"]) == (201, '{"a": 1.10}', 11)
    assert one["time"] >= one["timings"]["wait"] >= 0
    assert "route all" in one["comment"]
    (file,) = tmp_path.glob("*.har")
    assert file.stat().st_mode & 0o777 == 0o600


def test_no_secret_is_written(tmp_path: Path) -> None:
    secret = "s3cr3t"
    body = json.dumps(
        {"user": "u", "password": secret, "deep": [{"token": {"a": [secret, "]"]}}, {"code": 5}]}
    )
    said = Response.json(
        {"id_token": secret, "kept": "yes"}, headers=[("set-cookie", f"sid={secret}; Path=/")]
    )
    headers = [
        ("authorization", f"Bearer {secret}"),
        ("cookie", f"a={secret}; b={secret}"),
        ("x-api-key", secret),
        ("referer", f"https://a/?token={secret}"),
        ("content-type", "application/json"),
    ]
    with running(tmp_path, said) as gateway:
        gateway.request("POST", f"/?token={secret}&PASSWORD={secret}&%74oken={secret}", headers, body=body)
        form = [("content-type", "application/x-www-form-urlencoded")]
        gateway.request("POST", "/", form, body=f"user=u&client%5Fsecret={secret}")
        gateway.request("POST", "/", body=f'{{"\\u0070assword" : "{secret}"}}')
        found = entries(gateway, tmp_path, 3)
    text = json.dumps(found)
    assert secret not in text
    assert "user=u&client%5Fsecret=***" in text
    assert json.loads(found[0]["request"]["postData"]["text"])["user"] == "u"
    assert {"name": "sid", "value": "***"} in found[0]["response"]["cookies"]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"token": "a\\"b", "x": 1}', '{"token": "***", "x": 1}'),
        ('{"token":1.5e3,"x":"token: y"}', '{"token":"***","x":"token: y"}'),
        ('{"token":[{"a":"]"}], "x":[1]}', '{"token":"***", "x":[1]}'),
        ('{"token": [1, {"a": 2}', '{"token": "***"'),
        ('{"token": "unfinished', '{"token": "***"'),
        ('["token", "a"]', '["token", "a"]'),
        ('{"a": "token", "token": null}', '{"a": "token", "token": "***"}'),
        ("no json: token", "no json: token"),
    ],
)
def test_json_is_masked_as_it_stands(text: str, masked: str) -> None:
    assert MASKING.json(text) == masked


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("/a?x=1&token=s", "/a?x=1&token=***"),
        ("https://a/cb#access_token=s&x=1", "https://a/cb#access_token=***&x=1"),
        ("https://a/?b=1#access_token=s", "https://a/?b=1#access_token=***"),
        ("https://a/#/cb?code=s", "https://a/#/cb?code=***"),
        ("https://me:p@s@host/a@b", "https://***@host/a@b"),
        ("//me:s@host/", "//***@host/"),
        ("0; url=https://me:s@host/?code=s", "0; url=https://***@host/?code=***"),
        ("/?user[password]=s&login.pin=s&password[]=s", "/?user[password]=***&login.pin=***&password[]=***"),
        ("/?user%5Bpassword%5D=s", "/?user%5Bpassword%5D=***"),
        ("/?a=1;token=s;b=2&c=3;d", "/?a=1;token=***&c=3;d"),
        ("/?token=s;s", "/?token=***"),
        ("/a@b//c?x#y", "/a@b//c?x#y"),
        ("/reset/s/done?x=1", "/reset/***/done?x=1"),
        ("https://a/reset/s/done", "https://a/reset/***/done"),
        ("/re%73et/s/done", "/re%73et/***/done"),
        ("/reset/done", "/reset/done"),
        ("/off/s/s?x", "/off/***/***?x"),
        ("/users/me%40site.example/x", "/users/***/x"),
        ("/users/me@site.example", "/users/***"),
        ("/v/eyJhbGciOi.eyJzdWIi.c2ln/x", "/v/***/x"),
        ("/a;token=s/b;x=1", "/a;token=***/b;x=1"),
        ("https://a", "https://a"),
        ("*", "*"),
    ],
)
def test_urls_are_masked_in_all_their_parts(url: str, masked: str) -> None:
    assert MASKING.url(url) == masked


@pytest.mark.parametrize(
    "text",
    ["//", "/", "/a@a", "/a@a.", "eyJ.", "a", "//a@", "?", "#", ";", "a=", "a=;", "[", "a[b].", "name ", "&"],
)
def test_masking_of_urls_and_forms_takes_linear_time(text: str) -> None:
    began, long = time.process_time(), text * (500_000 // len(text))
    MASKING.url(long)
    MASKING.url(f"/?{long}")
    MASKING.multipart(f"--{text}{long}", f"multipart/form-data; boundary={text}")
    assert time.process_time() - began < 20


def test_what_the_gateway_masks_is_masked_here_and_the_other_way_round(tmp_path: Path) -> None:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.access_log(mask_query="ticket", mask_paths="/mine/{x}")
    plugin = HarCapture(folder=str(tmp_path), percent=100, mask_paths=["/reset/{token}"])
    gate.use(plugin)
    gate.use(KeyAuth(query="Pass", keys={"a": "s3cr3t"}), when='request.path == "/key"')
    targets = ["/mine/s3cr3t?ticket=s3cr3t", "/reset/s3cr3t", "/key?pass=s3cr3t", "/?Pass=s3cr3t"]
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        for target in targets:
            gateway.get(target)
        found = entries(gateway, tmp_path, len(targets))
        masked = [plugin._context.masked(target) for target in targets]
    assert "s3cr3t" not in json.dumps(found)
    assert masked == ["/mine/***?ticket=***", "/reset/***", "/key?pass=***", "/?Pass=***"]


@pytest.mark.parametrize("name", ["\\ud800", "\\ud83d\\ude00", "\\ud800token"])
def test_names_that_are_no_text_are_no_names(name: str) -> None:
    assert MASKING.json(f'{{"{name}": "s", "token": "s"}}') == f'{{"{name}": "s", "token": "***"}}'


def test_parts_of_forms_are_masked_by_their_names(tmp_path: Path) -> None:
    def form(secret: str, file: bytes) -> bytes:
        head = "content-disposition: form-data; name="
        parts = (
            f'--b\r\n{head}"user[password]"\r\n\r\n{secret}\r\n--b\r\n{head}token\r\n\r\n{secret}\r\n',
            f'--b\r\n{head}"x"; filename="password"\r\n\r\nkept\r\n--b\r\n{head}"f"\r\n\r\n',
        )
        return "".join(parts).encode() + file + b"\r\n--b--\r\n"

    kind = {"content-type": 'multipart/form-data; boundary="b"'}
    with running(tmp_path) as gateway:
        gateway.request("POST", "/", kind, body=form("s3cr3t\r\n--s3cr3t", b"text"))
        gateway.request("POST", "/", kind, body=form("s3cr3t", b"\xff\xfe"))
        texts, binary = (one["request"]["postData"] for one in entries(gateway, tmp_path, 2))
    assert texts["text"] == form("***", b"text").decode()
    assert base64.b64decode(binary["text"]) == form("***", b"\xff\xfe") and binary["encoding"] == "base64"


@pytest.mark.parametrize("text", ['\\"', '"', '":', '{"a":', "[", '"token":[', '"\\u0074'])
def test_masking_takes_linear_time(text: str) -> None:
    began = time.process_time()
    MASKING.json(text * (1_000_000 // len(text)))
    assert time.process_time() - began < 20  # what is quadratic takes hours


@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, gzip", "unknown"])
def test_no_entry_is_lost_for_its_body(tmp_path: Path, coding: str) -> None:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(b"x" * 1000) + packer.flush()
    with running(tmp_path, Response(200, packed, headers=[("content-encoding", coding)])) as gateway:
        gateway.get("/")
        (one,) = entries(gateway, tmp_path)
    content = one["response"]["content"]
    assert content.get("text") == ("x" * 1000 if coding == "gzip" else None)


def test_binary_bodies_are_base64_and_long_ones_left_out(tmp_path: Path) -> None:
    with running(tmp_path, Response(200, b"\xff\x00"), max_body_bytes=10) as gateway:
        gateway.request("POST", "/", body="x" * 11)
        (one,) = entries(gateway, tmp_path)
    assert (one["response"]["content"]["text"], one["response"]["content"]["encoding"]) == ("/wA=", "base64")
    assert one["request"]["postData"]["text"] == ""
    assert one["request"]["bodySize"] == 11


def test_a_bomb_is_not_inflated(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(bytes(50_000_000)) + packer.flush()
    said = Response(200, bomb, headers=[("content-encoding", "gzip")])
    with running(tmp_path, said, max_body_bytes=100_000) as gateway:
        gateway.get("/")
        (one,) = entries(gateway, tmp_path)
    assert "text" not in one["response"]["content"]


def test_requests_without_a_response_are_written(tmp_path: Path) -> None:
    with running(tmp_path, Fault.REFUSE) as gateway:
        assert gateway.get("/").status == 502
        (one,) = entries(gateway, tmp_path)
    assert (one["response"]["status"], one["timings"]["wait"] >= -1) == (502, True)


def test_what_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "captured"
    folder.mkdir()
    gateway = running(folder)
    with gateway:
        folder.rmdir()
        assert [gateway.get("/").status for _ in range(3)] == [200] * 3


def test_files_are_bounded_and_always_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.har"
    for number in range(100):
        append(file, [json.dumps({"n": number, "x": "x" * 100}).encode()], 4096)
        assert json.loads(file.read_text())["log"]["entries"][-1]["n"] == number
        assert file.read_bytes().endswith(TAIL)
    files = sorted(tmp_path.iterdir())
    assert [one.name for one in files] == ["a.1.har", "a.har"]
    assert all(one.stat().st_size < 4400 for one in files)


def test_a_link_in_the_folder_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    (tmp_path / "a.har").symlink_to(other)
    with pytest.raises(OSError, match="symbolic"):
        append(tmp_path / "a.har", [b"{}"], 4096)
    assert other.read_text() == "mine"


@pytest.mark.parametrize(
    "settings",
    [{}, {"folder": "/nowhere"}, {"folder": "/tmp", "percent": 0}, {"folder": "/tmp", "max_file_bytes": 1}],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        HarCapture(**settings)


@pytest.mark.parametrize(
    "path",
    [
        *("/reset/SECRET/done/", "//reset/SECRET/done", "/reset//SECRET/./done", "/x/../reset/SECRET/done"),
        *("/reset%2FSECRET%2Fdone", "/reset;a=1/SECRET/done", "/off//SECRET", "/u/SECRET@b.example;v=1"),
        *("/RESET/SECRET/done", "/re%2573et/SECRET/done", "/reset%5CSECRET/done", "/off/SECRET/../x"),
        *("/u/SECRET@b.example.", "/t/eyJhbGciOi.a.b.c.SECRET", "/t/eyJhbGciOi.SECRET.c.json"),
    ],
)
def test_other_spellings_of_a_path_are_masked_as_well(path: str) -> None:
    assert "SECRET" not in MASKING.url(f"http://site.example{path}")
    assert "SECRET" not in MASKING.url(f"//site.example{path}")


@pytest.mark.parametrize("is_there", [False, True])
def test_a_file_has_its_first_entries_when_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    file, named = tmp_path / "a.har", []
    replace = Path.replace

    def noted(one: Path, target: Path) -> Path:
        named.append((target, json.loads(one.read_text())["log"]["entries"]))
        return replace(one, target)

    if is_there:
        file.touch()  # by somebody who had no room for more
    monkeypatch.setattr(Path, "replace", noted)
    append(file, [b"{}"], 4096)
    append(file, [b"{}"], 4096)
    assert named == [(file, [{}])]
    assert json.loads(file.read_text())["log"]["entries"] == [{}, {}]
