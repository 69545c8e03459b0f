"""The examples about bodies and balancing do what they say, against a real origin."""

import gzip
import json
from pathlib import Path

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import reply

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ["gzip_after_rewrite.py", "json_fields.py", "validate_body.py", "pick_server.py"]


def start(serve: Serve, name: str, *origins: Origin) -> RunningGateway:
    """Runs an example on the kit's addresses."""
    text = (EXAMPLES / name).read_text().replace('"127.0.0.1:8080"', "LISTEN")
    for number, origin in enumerate(origins):
        text = text.replace(f'"127.0.0.1:900{number}"', repr(origin.address))
    return serve(text)


@pytest.mark.parametrize("name", NAMES)
def test_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= 50


@pytest.mark.parametrize("is_coded", [False, True])
def test_text_is_rewritten_then_compressed(serve: Serve, origin: Origin, is_coded: bool) -> None:
    text = b"see http://internal.example/a" * 20
    html, coded = ("Content-Type", "text/html"), ("Content-Encoding", "gzip")
    origin.on(
        "/", reply(gzip.compress(text), fields=[html, coded]) if is_coded else reply(text, fields=[html])
    )
    gateway = start(serve, "gzip_after_rewrite.py", origin)
    response = gateway.get("/", [("Accept-Encoding", "gzip")])
    assert response.get("content-encoding") == "gzip"
    assert gzip.decompress(response.body) == b"see https://www.example.com/a" * 20
    if not is_coded:
        assert gateway.get("/").body == b"see https://www.example.com/a" * 20


@pytest.mark.parametrize(
    ("accepted", "status"),
    [
        ("gzip;q=0", "200 OK"),
        ("x-gzip-not", "200 OK"),
        ("br, gzip;q=0.0", "200 OK"),
        ("gzip", "206 Partial Content"),
    ],
)
def test_text_stays_plain_where_it_must(serve: Serve, origin: Origin, accepted: str, status: str) -> None:
    fields = [("Content-Type", "text/plain"), ("Content-Range", "bytes 0-3/9")]
    origin.on("/plain", reply(b"text", status=status, fields=fields[: 1 + status.startswith("206")]))
    response = start(serve, "gzip_after_rewrite.py", origin).get("/plain", [("Accept-Encoding", accepted)])
    assert (response.body, response.get("content-encoding")) == (b"text", None)
    assert response.get("vary") == (None if status.startswith("206") else "accept-encoding")


def test_hidden_fields_are_taken_out(serve: Serve, origin: Origin) -> None:
    response = {"users": [{"name": "a", "password": "b", "more": {"cost": 1, "kept": 2}}]}
    fields = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")]
    origin.on("/api/users", reply(gzip.compress(json.dumps(response).encode()), fields=fields))
    origin.on("/api/text", reply(b"password"))
    gateway = start(serve, "json_fields.py", origin)
    seen = gzip.decompress(gateway.get("/api/users").body)
    assert json.loads(seen) == {"users": [{"name": "a", "more": {"kept": 2}}]}
    assert gateway.get("/api/text").body == b"password"


def test_orders_are_validated(serve: Serve, origin: Origin) -> None:
    gateway = start(serve, "validate_body.py", origin)
    sent = gateway.post("/orders", b'{"article": "pen-1", "count": 2, "extra": 1}').json()
    assert json.loads(sent["body"]) == {"article": "pen-1", "count": 2, "note": ""}
    refused = gateway.post("/orders", b'{"article": "pen", "count": 0}')
    assert refused.status == 422
    assert [one["where"] for one in refused.json()["errors"]] == [["article"], ["count"]]
    assert gateway.post("/orders", b" " * 300_000).status == 413
    assert len(origin.at("/orders")) == 1
    assert gateway.post("/uploads/a", b"\x7fELF...").status == 415
    assert gateway.post("/uploads/b", b"text").json()["body"] == "text"


def test_a_tenant_stays_on_its_server(serve: Serve, origin: Origin) -> None:
    with Origin() as second, Origin() as third:
        gateway = start(serve, "pick_server.py", origin, second, third)
        assert gateway.get("/", [("X-Tenant", "\xff")]).status == 200
        for tenant in ("a", "b", "c"):
            reached = {gateway.get("/tenant", [("X-Tenant", tenant)]).json()["origin"] for _ in range(4)}
            assert len(reached) == 1
        assert len({gateway.get("/tenant").json()["origin"] for _ in range(6)}) == 3
