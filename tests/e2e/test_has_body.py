"""`request.has_body`: the same for the same request of each version, whatever its framing, in every phase."""

from collections.abc import Iterator

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve
from e2e.kit.http2 import Http2Client
from e2e.kit.http3 import Http3Client
from e2e.kit.pki import Authority, Leaf

SOURCE = """
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN, **MORE)


@gate.rewrite
def note(request):
    request.state.first = request.has_body


@gate.route("/told", to=ORIGIN)
def tell(request):
    return Response(200, f"{request.state.first} {request.has_body}")


@gate.route("/read", to=ORIGIN)
async def read(request):
    body = await request.body()
    return Response(200, f"{request.state.first} {request.has_body} {len(body)}")


@gate.route("/set", to=ORIGIN)
def replace(request):
    seen = [request.has_body]
    for body in ("new", b"", [b"a"]):
        request.set_body(body)
        seen.append(request.has_body)
    return Response(200, " ".join(map(str, seen)))


late = gate.route("/late", to=ORIGIN)


@late.response
def after(request, response):
    response.headers["x-had"] = str(request.has_body)
"""


@pytest.fixture(scope="module")
def plain(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(SOURCE, names={"ORIGIN": origin.address, "MORE": {}})


@pytest.fixture(scope="module")
def leaf(authority: Authority) -> Leaf:
    return authority.issue("gate.test")


@pytest.fixture(scope="module")
def secure(serve_module: Serve, origin: Origin, leaf: Leaf) -> RunningGateway:
    more = {"tls": {"certificates": [leaf.files]}, "http3": True}
    return serve_module(SOURCE, names={"ORIGIN": origin.address, "MORE": more})


@pytest.fixture
def http3(secure: RunningGateway, authority: Authority) -> Iterator[Http3Client]:
    with Http3Client(secure.address, authority.ca) as client:
        yield client


Body = bytes | None

CASES: list[tuple[str, str, Body, str]] = [
    ("GET", "/told", None, "False False"),
    ("GET", "/told", b"x", "True True"),
    ("POST", "/told", b"x", "True True"),
    ("GET", "/read", b"xyz", "True True 3"),
    ("GET", "/read", None, "False False 0"),
    ("POST", "/set", b"x", "True True False True"),
    ("GET", "/set", None, "False True False True"),
]


@pytest.mark.parametrize(("method", "target", "body", "told"), CASES)
@pytest.mark.parametrize("has_length", [False, True])
def test_http1(
    plain: RunningGateway, method: str, target: str, body: Body, told: str, has_length: bool
) -> None:
    head = f"{method} {target} HTTP/1.1\r\nHost: a\r\n".encode()
    if body is not None and has_length:
        head += b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    elif body is not None:
        head += b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    else:
        head += b"Content-Length: 0\r\n\r\n" if has_length else b"\r\n"
    with RawClient(plain.address) as client:
        client.send(head)
        assert client.response(method).body == told.encode()


@pytest.mark.parametrize(("method", "target", "body", "told"), CASES)
@pytest.mark.parametrize("has_length", [False, True])
def test_http2(
    plain: RunningGateway, method: str, target: str, body: Body, told: str, has_length: bool
) -> None:
    fields = [("content-length", str(len(body or b"")))] if has_length else []
    with Http2Client(plain.address) as client:
        stream = client.request(target, method=method, fields=fields, body=body)
        assert client.response(stream).body == told.encode()


@pytest.mark.parametrize(("method", "target", "body", "told"), CASES)
@pytest.mark.parametrize("has_length", [False, True])
def test_http3(http3: Http3Client, method: str, target: str, body: Body, told: str, has_length: bool) -> None:
    fields = [("content-length", str(len(body or b"")))] if has_length else []
    stream = http3.request(target, fields, method=method, body=body)
    assert http3.response(stream).body == told.encode()


def test_a_body_of_unknown_length_may_turn_out_empty(plain: RunningGateway, http3: Http3Client) -> None:
    with RawClient(plain.address) as client:
        client.send(b"GET /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert client.response("GET").body == b"True True 0"
    with Http2Client(plain.address) as client:
        assert client.response(client.request("/read", body=b"")).body == b"True True 0"
    assert http3.response(http3.request("/read", body=b"")).body == b"True True 0"


def test_later_phases_know_it_too(plain: RunningGateway) -> None:
    with RawClient(plain.address) as client:
        client.send(b"GET /late HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
        assert client.response("GET").get("x-had") == "True"
        client.send(b"GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response("GET").get("x-had") == "False"
