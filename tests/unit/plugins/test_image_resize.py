"""image-resize: what goes to the workers, and what clients get with and without them."""

import io
from typing import Any
from urllib.parse import parse_qsl

import pytest
from PIL import Image

from headgate import ConfigError, Gateway, Response
from headgate.plugins import ImageResize
from headgate.testing import Fault, Received, TestGateway, TestResponse

SERVER, WORKERS = "server.test:80", "workers.test:80"


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 20)).save(out, "PNG")
    return out.getvalue()


PICTURE = picture()


def ask(
    target: str,
    *,
    headers: Any = (),
    method: str = "GET",
    server: Any = None,
    workers: Any = "made",
    **config: Any,
) -> tuple[TestResponse, list[Received]]:
    gate = Gateway()
    gate.upstream("app", SERVER)
    gate.upstream("workers", WORKERS)
    gate.route("/", to="app")
    gate.use(ImageResize(**{"workers": "workers", "sizes": [100, 200], "max_body_bytes": 5000, **config}))
    fields = {"content-type": "image/png", "etag": '"1"', "cache-control": "max-age=9"}
    server = Response(200, PICTURE, headers=fields) if server is None else server
    with TestGateway(gate, upstreams={SERVER: server, WORKERS: workers}) as gateway:
        response = gateway.request(method, target, headers)
        return response, gateway.received


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_images_are_made_by_workers(method: str) -> None:
    response, received = ask(
        "/a.png?w=100&h=200&fit=cover&fm=jpeg&v=1%262",
        method=method,
        headers={"if-none-match": '"1"', "range": "bytes=0-1", "cookie": "a=1", "host": "gateway.test"},
    )
    assert (response.status, response.headers["content-type"]) == (200, "image/jpeg")
    assert response.headers["content-length"] == "4" and response.text == ("made" if method == "GET" else "")
    assert response.headers["cache-control"] == "max-age=9" and "etag" not in response.headers
    original, job = received
    assert (original.method, original.target, original.headers["cookie"]) == ("GET", "/a.png?v=1%262", "a=1")
    assert not {"if-none-match", "range"} & set(original.headers)
    assert original.headers.get_all("host") == ["gateway.test"]
    assert (job.method, job.path, job.body) == ("POST", "/resize", PICTURE) and "cookie" not in job.headers
    assert dict(parse_qsl(job.target.partition("?")[2])) == {
        "width": "100",
        "height": "200",
        "fit": "cover",
        "format": "jpeg",
        "quality": "80",
        "max_pixels": "40000000",
    }


@pytest.mark.parametrize(
    "query",
    [
        *("w=101", "w=x", "w=-100", "w=", "w=100&fit=x", "fm=gif", "w=%D9%A1%D9%A0%D9%A0", "h=1e2"),
        *("w=000100999999", "h=0100", "w=100%20", "w=" + "0" * 5000 + "100"),
    ],
)
def test_clients_choose_of_what_is_listed(query: str) -> None:
    response, received = ask(f"/a.png?{query}")
    assert (response.status, received) == (400, [])


def test_without_a_size_nothing_is_done() -> None:
    response, received = ask("/a.png?v=1")
    assert response.body == PICTURE and response.headers["etag"] and len(received) == 1


def test_webp_goes_to_those_that_take_it() -> None:
    for accept, kind in (("image/webp,*/*", "webp"), ("image/webp;q=0", "png"), ("*/*", "png")):
        response, _ = ask("/a.png?w=100", headers={"accept": accept}, prefer_webp=True)
        assert (response.headers["content-type"], response.headers["vary"]) == (f"image/{kind}", "Accept")
    assert ask("/a.png?w=100", headers={"accept": "image/webp"})[0].headers["content-type"] == "image/png"


@pytest.mark.parametrize(
    "server",
    [
        Response(404, "none"),
        Response(200, "text", headers={"content-type": "text/html"}),
        Response(200, "x", headers={"content-type": "image/avif"}),
        Response(200, b"x" * 6000, headers={"content-type": "image/png"}),
        Response(200, b"x", headers={"content-type": "image/png", "cache-control": "no-transform"}),
        Response(200, b"x", headers={"content-type": "image/png", "content-encoding": "gzip"}),
        Response(302, headers={"location": "/b.png"}),
    ],
)
def test_other_responses_go_on_as_they_are(server: Response) -> None:
    response, received = ask("/a.png?w=100", server=server)
    assert (response.status, response.body) == (server.status, server.body or b"") and len(received) == 1
    assert dict(server.headers.items()).items() <= dict(response.headers).items()


def test_an_image_without_a_length_that_is_too_large_goes_on_whole() -> None:
    async def pieces() -> Any:
        for _ in range(10):
            yield b"x" * 1000

    response, received = ask(
        "/a.png?w=100", server=lambda _: Response.stream(pieces(), content_type="image/png")
    )
    assert response.body == b"x" * 10_000 and len(received) == 1


@pytest.mark.parametrize("workers", [Fault.REFUSE, Fault.CUT, 503, 500])
def test_without_workers_clients_get_the_original_or_a_503(workers: Any) -> None:
    response, _ = ask("/a.png?w=100", workers=workers)
    assert (response.status, response.body) == (200, PICTURE) and response.headers["etag"] == '"1"'
    response, _ = ask("/a.png?w=100", workers=workers, when_away="fail")
    assert (response.status, response.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize("status", [413, 415])
def test_an_image_that_workers_refuse_is_a_502(status: int) -> None:
    response, _ = ask("/a.png?w=100", workers=Response(status, "secret"))
    assert response.status == 502 and "secret" not in response.text


def test_clients_cannot_say_what_a_proxy_says() -> None:
    said = {"x-forwarded-for": "10.9.9.9", "forwarded": "for=127.0.0.1", "x-real-ip": "127.0.0.1"}
    _, received = ask("/a.png?w=100", headers={**said, "proxy-authorization": "x", "authorization": "y"})
    assert received[0].headers["authorization"] == "y"
    assert received[0].headers.get_all("x-forwarded-for") == ["127.0.0.1"]  # of the test itself
    assert not {"forwarded", "x-real-ip", "proxy-authorization"} & set(received[0].headers)


def test_an_image_that_ends_too_early_is_a_502() -> None:
    async def pieces() -> Any:
        yield PICTURE[:20]
        raise OSError

    server = lambda _: Response.stream(pieces(), content_type="image/png")  # noqa: E731
    response, _ = ask("/a.png?w=100", server=server)
    assert response.status == 502 and "prematurely" in response.text


def test_scripts_of_svg_do_not_run() -> None:
    svg = Response(200, "<svg><script/></svg>", headers={"content-type": "image/svg+xml; charset=utf-8"})
    for target in ("/a.svg", "/a.svg?w=100"):
        response, _ = ask(target, server=svg)
        assert (
            response.text == "<svg><script/></svg>"
            and "sandbox" in response.headers["content-security-policy"]
        )
        assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "settings", [{"sizes": []}, {"sizes": [0]}, {"sizes": [10_001]}, {"formats": ["exe"]}, {"quality": 0}]
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ImageResize(**{"workers": "w", "sizes": [1], **settings})
