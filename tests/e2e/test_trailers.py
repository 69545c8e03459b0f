"""Trailer fields: read and set by hooks, both ways."""

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import chunked, reply
from e2e.kit.net import eventually

GATE = """
import hashlib
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
gate.access_log(flush="50ms")
api = gate.upstream("api", ORIGIN)

logged = gate.route("/logged", to=api)

@logged.log
def logs(request, response):
    print("TRAILERS", request.trailers.items(), response.trailers.items(), flush=True)

summed = gate.route("/summed", to=api)

@summed.response_body
def sums(request, response, chunk, last):
    request.state.sum = getattr(request.state, "sum", None) or hashlib.sha256()
    request.state.sum.update(chunk)
    if last:
        response.trailers["x-was"] = response.trailers.get("x-from", "none")
        response.trailers["x-sum"] = request.state.sum.hexdigest()[:8]

early = gate.route("/early", to=api)

@early.response
def set_early(request, response):
    response.trailers["x-early"] = "yes"

own = gate.route("/own")

@own
def responses(request):
    return Response(200, "own")

@own.response
def set_own(request, response):
    response.trailers["x-own"] = "yes"

sent = gate.route("/sent", to=api)

@sent
def sends(request):
    request.trailers["x-sent"] = "yes"

filtered = gate.route("/filtered", to=api)

@filtered.request_body
def filters(request, chunk, last):
    if last:
        request.trailers["x-seen"] = request.trailers.get("x-client", "none")

forbidden = gate.route("/forbidden", to=api)

@forbidden.response
def sets_forbidden(request, response):
    response.trailers["content-length"] = "5"
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address})


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Client: c\r\n\r\n"


def test_trailers_both_ways_are_there_for_the_log(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/logged", chunked([b"x"], trailers=[("X-From", "server")]))
    with gateway.client() as client:
        client.send(b"POST /logged HTTP/1.1\r\nHost: a\r\n" + CHUNKED)
        assert client.response().trailers == [("X-From", "server")]
    wanted = "TRAILERS [('x-client', 'c')] [('x-from', 'server')]"
    eventually(lambda: wanted in gateway.output(), wanted)


def test_a_body_hook_reads_and_sets_trailers(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/summed", chunked([b"one", b"two"], trailers=[("X-From", "server")]))
    response = gateway.get("/summed")
    assert response.body == b"onetwo"
    trailers = {name.lower(): value for name, value in response.trailers}
    assert trailers == {"x-from": "server", "x-was": "server", "x-sum": "25b6746d"}


@pytest.mark.parametrize("path", ["/early", "/own"])
def test_trailers_set_before_the_body_make_it_chunked(
    gateway: RunningGateway, origin: Origin, path: str
) -> None:
    origin.on("/early", reply(b"early"))
    response = gateway.get(path)
    assert response.body == path[1:].encode()
    assert response.get("content-length") is None
    assert response.trailers == [(f"x-{path[1:]}", "yes")]


def test_an_old_client_gets_the_body_without_trailers(gateway: RunningGateway, origin: Origin) -> None:
    origin.on("/early", reply(b"early"))
    with gateway.client() as client:
        client.send(b"GET /early HTTP/1.0\r\n\r\n")
        assert client.response().body == b"early"


def test_request_trailers_are_set_and_read(gateway: RunningGateway, origin: Origin) -> None:
    gateway.post("/sent", b"abc")
    assert origin.at("/sent")[-1].trailers == [("x-sent", "yes")]
    with gateway.client() as client:
        client.send(b"POST /filtered HTTP/1.1\r\nHost: a\r\n" + CHUNKED)
        client.response()
    trailers = {name.lower(): value for name, value in origin.at("/filtered")[-1].trailers}
    assert trailers == {"x-client": "c", "x-seen": "c"}


def test_a_field_of_the_head_cannot_be_a_trailer(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.get("/forbidden").status == 500
    gateway.wait_for_log("`content-length` cannot be a trailer")
