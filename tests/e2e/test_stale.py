"""Last good responses as the fallback: what is kept, who gets it, and what is said of it (RFC 5861 section 4)."""

from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import chunked, reply
from e2e.kit.origin import Call


def keeping(serve: Serve, origin: Origin, **stale: object) -> RunningGateway:
    upstream = {"servers": f"{origin.address} max_fails=0", "retries": 0, "fallback": {"stale": stale}}
    return serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)


def broken(call: Call) -> None:
    call.reset()


def test_last_good_response_is_given_when_the_server_fails(serve: Serve, origin: Origin) -> None:
    gateway = keeping(serve, origin)
    fields = [("ETag", '"1"'), ("Content-Type", "text/plain"), ("Age", "7")]
    with gateway.client() as client:
        for body in (b"old", b"good" * 1000):
            origin.on("/page", reply(body, fields=fields))
            response = client.get("/page?a=1")
            assert (response.body, response.get("cache-status")) == (body, None), "it is no cache"
        assert len(origin.calls) == 2
        origin.on("/page", broken)
        response = client.get("/page?a=1")
        assert (response.status, response.body) == (200, b"good" * 1000)
        assert (response.get("etag"), response.get("content-length")) == ('"1"', "4000")
        assert int(response.get("age") or 0) >= 7
        assert response.get("cache-status") == "headgate; fwd=stale; detail=stale-if-error"
        response = client.request("HEAD", "/page?a=1")
        assert (response.status, response.get("content-length"), response.body) == (200, "4000", b"")
        assert client.get("/page?a=2").status == 502
        assert client.request("POST", "/page?a=1", body=b"x").status == 502
    assert gateway.counter("fallbacks") == 4


def test_status_that_says_that_a_server_cannot_serve_is_replaced(serve: Serve, origin: Origin) -> None:
    gateway = keeping(serve, origin)
    pieces = chunked([b"one", b"two"])
    origin.on("/page", pieces)
    assert gateway.get("/page").body == b"onetwo"
    for status in ("500 Error", "502 Bad", "503 Busy", "504 Late"):
        origin.on("/page", reply(b"broken", status=status))
        response = gateway.get("/page")
        assert (response.status, response.body) == (200, b"onetwo")
        said = f"headgate; fwd=stale; fwd-status={status[:3]}; detail=stale-if-error"
        assert response.get("cache-status") == said
    for status in ("501 No", "429 Often"):
        origin.on("/page", reply(b"told", status=status))
        assert gateway.get("/page").body == b"told"
    origin.on("/page", reply(b"gone", status="410 Gone"))
    assert gateway.get("/page").body == b"gone"
    origin.on("/page", broken)
    assert gateway.get("/page").status == 502, "what is gone is not said any more"


def test_what_is_for_one_client_is_neither_kept_nor_given(serve: Serve, origin: Origin) -> None:
    gateway = keeping(serve, origin)
    secret = ("Authorization", "Bearer abc")
    kinds = {
        "/authorized": (reply(b"mine"), [secret]),
        "/private": (reply(b"mine", fields=[("Cache-Control", "private")]), []),
        "/no-store": (reply(b"mine", fields=[("Cache-Control", "max-age=9, no-store")]), []),
        "/set-cookie": (reply(b"mine", fields=[("Set-Cookie", "a=b")]), []),
        "/cookie": (reply(b"mine"), [("Cookie", "a=b")]),
        "/asked": (reply(b"mine"), [("Cache-Control", "no-store")]),
        "/revalidated": (reply(b"mine", fields=[("Cache-Control", "must-revalidate")]), []),
        "/part": (reply(b"mine"), [("Range", "bytes=0-3")]),
        "/long": (reply(b"x" * 2_000_000), []),
        "/long-chunked": (chunked([b"x" * 700_000] * 2), []),
        "/varies": (reply(b"mine", fields=[("Vary", "X-Who")]), [("X-Who", "me")]),
    }
    with gateway.client() as client:
        for path, (behaviour, fields) in kinds.items():
            origin.on(path, behaviour)
            assert client.get(path, fields).status == 200
        origin.on("/public", reply(b"ours"))
        assert client.get("/public").status == 200
        for path, (_, fields) in kinds.items():
            origin.on(path, broken)
            assert client.get(path).status == 502, path
            expected = 200 if path == "/varies" else 502
            assert client.get(path, fields).status == expected, path
        origin.on("/public", broken)
        assert client.get("/public", [secret]).status == 502
        assert client.get("/public", [("Cache-Control", "no-cache")]).status == 502
        assert client.get("/public").body == b"ours"


def test_it_is_given_for_as_long_as_it_may(serve: Serve, origin: Origin) -> None:
    gateway = keeping(serve, origin, max_age="2s")
    control = ("Cache-Control", "max-age=0, stale-if-error=86400")
    origin.on("/short", reply(b"old", fields=[("Cache-Control", "stale-if-error=0")]))
    origin.on("/page", reply(b"old", fields=[control]))
    for path in ("/short", "/page"):
        assert gateway.get(path).status == 200
        origin.on(path, broken)
    assert gateway.get("/short").status == 502
    assert gateway.get("/page").status == 200
    eventually(lambda: gateway.get("/page").status == 502, "`max_age` is over")


def test_memory_is_bounded(serve: Serve, origin: Origin) -> None:
    gateway = keeping(serve, origin, max_size="5k", max_body="2k")
    for path in ("/a", "/b", "/c"):
        origin.on(path, reply(b"x" * 2000))
        assert gateway.get(path).status == 200
        origin.on(path, broken)
    assert [gateway.get(path).status for path in ("/a", "/b", "/c")] == [502, 200, 200]


def test_it_comes_after_the_other_upstream_and_before_the_fixed_response(
    serve: Serve, origin: Origin
) -> None:
    with Origin() as second_origin:
        comes_between(serve, origin, second_origin)


def comes_between(serve: Serve, origin: Origin, second_origin: Origin) -> None:
    fallback = {"upstream": "other", "stale": {}, "respond": {"status": 503, "body": "sorry"}}
    upstreams = {
        "u": {"servers": f"{origin.address} max_fails=0", "retries": 0, "fallback": fallback},
        "other": {"servers": f"{second_origin.address} max_fails=0", "retries": 0},
    }
    gateway = serve({"upstreams": upstreams, "routes": [{"to": "u"}]}, workers=1)
    second_origin.on("/page", reply(b"other"))
    origin.on("/page", reply(b"good"))
    assert gateway.get("/page").body == b"good"
    origin.on("/page", broken)
    assert gateway.get("/page").body == b"other"
    second_origin.on("/page", broken)
    assert gateway.get("/page").body == b"good"
    origin.on("/else", broken)
    second_origin.on("/else", broken)
    assert gateway.get("/else").body == b"sorry"


def test_hooks_see_it_and_a_reload_keeps_it(serve: Serve, origin: Origin) -> None:
    upstream = {"servers": f"{origin.address} max_fails=0", "retries": 0, "fallback": {"stale": {}}}
    seen = {"plugin": "headers", "config": {"response": {"set": {"x-seen": "yes"}}}}
    whole = {"upstreams": {"u": upstream}, "routes": [{"to": "u"}], "plugins": [seen]}
    gateway = serve(whole, workers=1)
    origin.on("/page", reply(b"good"))
    assert gateway.get("/page").get("x-seen") == "yes"
    origin.on("/page", broken)
    response = gateway.get("/page")
    assert (response.body, response.all("x-seen")) == (b"good", ["yes"])
    gateway.write({**whole, "upstreams": {"u": {**upstream, "retries": 1}}})
    assert gateway.ask("reload")["in_place"]
    assert gateway.get("/page").body == b"good"
