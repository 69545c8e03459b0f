"""Responses that are broken off or slowed down on purpose, as clients see them."""

import time
from typing import Any

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve
from e2e.kit.behaviours import chunked

SHORT, LONG = b"0123456789" * 10, bytes(300_000)


def faulty(serve: Serve, origin: Origin, **config: Any) -> RunningGateway:
    origin.on("/short", lambda call: call.respond(SHORT, fields=[("x-own", "1")]))
    origin.on("/long", lambda call: call.respond(LONG))
    origin.on("/chunked", chunked([b"abc", b"def", b"ghi"]))
    plugin = {
        "plugin": "response-faults",
        "config": config,
        "when": "request.path in ['/short', '/long', '/chunked']",
    }
    return serve({"routes": [{"to": origin.address}], "plugins": [plugin]})


@pytest.mark.parametrize(("path", "whole"), [("/short", SHORT), ("/long", LONG), ("/chunked", b"abcdefghi")])
@pytest.mark.parametrize("after", [1, 5, 70_000])
def test_a_response_that_is_broken_off_never_looks_complete(
    serve: Serve, origin: Origin, path: str, whole: bytes, after: int
) -> None:
    gateway = faulty(serve, origin, truncate={"after_bytes": after})
    with RawClient(gateway.address) as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: gate.test\r\n\r\n".encode())
        head = client.head()
        assert head.status == 200
        if path == "/short":
            assert head.get("x-own") == "1"
        rest = client.read_to_end()
    if head.get("content-length"):
        assert len(rest) < int(head.get("content-length") or 0)
        assert len(rest) <= after
    else:
        assert not rest.endswith(b"0\r\n\r\n")
        body = b"".join(rest.split(b"\r\n")[1::2])
        assert whole.startswith(body) and len(body) <= after
    assert gateway.get("/spared").status == 200


def test_a_slow_response_comes_whole_at_its_pace(serve: Serve, origin: Origin) -> None:
    gateway = faulty(serve, origin, slow={"bytes_per_second": 1000})
    begun = time.monotonic()
    response = gateway.get("/short")
    assert (response.status, response.body, response.get("x-own")) == (200, SHORT, "1")
    assert time.monotonic() - begun >= 0.09, "never faster"
    assert gateway.get("/chunked").body == b"abcdefghi"


def test_the_part_that_is_asked_for_is_hit(serve: Serve, origin: Origin) -> None:
    gateway = faulty(serve, origin, truncate={"percent": 30}, seed=1)
    whole = 0
    for _ in range(60):
        try:
            whole += gateway.get("/short").body == SHORT
        except OSError:
            pass
    assert 25 <= whole <= 55
