"""Static files: types, validators, ranges, index, and no way out of the folder."""

import os
from urllib.parse import urljoin

import pytest
from e2e.kit import RunningGateway, Serve

DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory) -> RunningGateway:
    folder = tmp_path_factory.mktemp("site")
    root = folder / "public"
    (root / "sub").mkdir(parents=True)
    (root / "bare").mkdir()
    (folder / "secret.txt").write_text("secret")
    (root / "data.bin").write_bytes(DATA)
    (root / "large.bin").write_bytes(DATA * 1000)
    (root / "page.html").write_text("<p>page</p>")
    (root / "index.html").write_text("root index")
    (root / "sub/index.html").write_text("sub index")
    (root / "sp ace.txt").write_text("space")
    (root / ".hidden").write_text("hidden")
    (root / "empty.txt").write_text("")
    (root / "escape").symlink_to(folder / "secret.txt")
    (folder / "public-other").mkdir()
    (folder / "public-other/secret.txt").write_text("secret")
    os.mkfifo(root / "fifo")
    routes = [
        {"path": "/static/*", "files": str(root), "strip_prefix": "/static"},
        {"path": "/page.html", "files": str(root)},
        {"path": "/", "files": str(root)},
    ]
    return serve_module({"routes": routes})


def test_file_is_served_with_type_and_validators(gateway: RunningGateway) -> None:
    response = gateway.get("/static/page.html")
    assert (response.status, response.text) == (200, "<p>page</p>")
    assert (response.get("content-type") or "").startswith("text/html")
    assert response.get("etag")
    assert (response.get("last-modified") or "").endswith("GMT")


def test_binary_file_is_intact(gateway: RunningGateway) -> None:
    response = gateway.get("/static/data.bin")
    assert response.body == DATA
    assert response.get("content-type") == "application/octet-stream"


def test_large_file_is_intact(gateway: RunningGateway) -> None:
    assert gateway.get("/static/large.bin", timeout=30).body == DATA * 1000


def test_head_of_a_file_has_its_length(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        response = client.request("HEAD", "/static/data.bin")
        assert (response.status, response.get("content-length")) == (200, str(len(DATA)))
        assert client.get("/static/page.html").status == 200


def test_empty_file_is_empty(gateway: RunningGateway) -> None:
    response = gateway.get("/static/empty.txt")
    assert (response.status, response.body) == (200, b"")


@pytest.mark.parametrize(
    ("target", "text"), [("/", "root index"), ("/static/", "root index"), ("/sub/", "sub index")]
)
def test_index_of_a_folder_is_served(gateway: RunningGateway, target: str, text: str) -> None:
    assert gateway.get(target).text == text


def test_folder_without_slash_is_redirected(gateway: RunningGateway) -> None:
    response = gateway.get("/static/sub?q=1")
    assert response.status in (301, 302, 307, 308)
    location = urljoin("http://gate.test/static/sub?q=1", response.get("location") or "")
    assert location == "http://gate.test/static/sub/?q=1"


def test_percent_encoded_name_is_found(gateway: RunningGateway) -> None:
    assert gateway.get("/static/sp%20ace.txt").text == "space"


@pytest.mark.parametrize("target", ["/static/none", "/bare/", "/static/page.html/", "/static/data.bin/x"])
def test_what_is_not_there_is_404(gateway: RunningGateway, target: str) -> None:
    assert gateway.get(target).status == 404


ESCAPES = [
    "/static/../secret.txt",
    "/static/%2e%2e/secret.txt",
    "/static/..%2fsecret.txt",
    "/static/..%5csecret.txt",
    "/static/%2e%2e%2fsecret.txt",
    "/static//../secret.txt",
    "/static/sub/../../secret.txt",
    "/static/....//secret.txt",
    "/static-other/secret.txt",
    "/static/..;/secret.txt",
    "/static/%00/../secret.txt",
    "/static/escape",
    "//secret.txt",
    "/../secret.txt",
]


@pytest.mark.parametrize("target", ESCAPES)
def test_nothing_outside_the_folder_is_served(gateway: RunningGateway, target: str) -> None:
    response = gateway.get(target)
    assert response.status in (400, 403, 404)
    assert b"secret" not in response.body.replace(target.encode(), b"")


def test_special_file_is_not_opened(gateway: RunningGateway) -> None:
    assert gateway.get("/static/fifo", timeout=5).status in (403, 404)


def test_etag_that_matches_gives_304(gateway: RunningGateway) -> None:
    etag = gateway.get("/static/data.bin").get("etag") or ""
    for value in (etag, f'"other", {etag}', "*", f"W/{etag}" if not etag.startswith("W/") else etag):
        response = gateway.get("/static/data.bin", [("If-None-Match", value)])
        assert (response.status, response.body, response.get("etag")) == (304, b"", etag), value
    assert gateway.get("/static/data.bin", [("If-None-Match", '"other"')]).status == 200


def test_date_that_matches_gives_304(gateway: RunningGateway) -> None:
    modified = gateway.get("/static/data.bin").get("last-modified") or ""
    assert gateway.get("/static/data.bin", [("If-Modified-Since", modified)]).status == 304
    old = "Mon, 01 Jan 2001 00:00:00 GMT"
    assert gateway.get("/static/data.bin", [("If-Modified-Since", old)]).status == 200
    both = [("If-None-Match", '"other"'), ("If-Modified-Since", modified)]
    assert gateway.get("/static/data.bin", both).status == 200


def test_failed_precondition_gives_412(gateway: RunningGateway) -> None:
    assert gateway.get("/static/data.bin", [("If-Match", '"other"')]).status == 412


RANGES = [
    ("bytes=0-9", DATA[:10], "bytes 0-9/10240"),
    ("bytes=10000-", DATA[10000:], "bytes 10000-10239/10240"),
    ("bytes=-5", DATA[-5:], "bytes 10235-10239/10240"),
    ("bytes=10239-99999", DATA[10239:], "bytes 10239-10239/10240"),
]


@pytest.mark.parametrize(("range_", "body", "shown"), RANGES)
def test_range_is_served(gateway: RunningGateway, range_: str, body: bytes, shown: str) -> None:
    response = gateway.get("/static/data.bin", [("Range", range_)])
    assert (response.status, response.body, response.get("content-range")) == (206, body, shown)


def test_range_outside_the_file_gives_416(gateway: RunningGateway) -> None:
    response = gateway.get("/static/data.bin", [("Range", "bytes=99999-")])
    assert (response.status, response.get("content-range")) == (416, "bytes */10240")


@pytest.mark.parametrize("range_", ["lines=1-2", "bytes=5-2", "bytes=x-y"])
def test_range_that_cannot_be_read_is_ignored(gateway: RunningGateway, range_: str) -> None:
    response = gateway.get("/static/data.bin", [("Range", range_)])
    assert response.status in (200, 416)


def test_if_range_with_another_etag_gives_all(gateway: RunningGateway) -> None:
    fields = [("Range", "bytes=0-1"), ("If-Range", '"other"')]
    assert gateway.get("/static/data.bin", fields).status == 200
    etag = gateway.get("/static/data.bin").get("etag") or ""
    fields = [("Range", "bytes=0-1"), ("If-Range", etag)]
    assert gateway.get("/static/data.bin", fields).status == (206 if not etag.startswith("W/") else 200)


def test_other_methods_get_405(gateway: RunningGateway) -> None:
    response = gateway.post("/static/page.html", b"x")
    assert response.status == 405
    assert "GET" in (response.get("allow") or "")
