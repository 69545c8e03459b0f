"""What hooks keep of a request after its end."""

import pytest
from e2e.kit import Origin, RunningGateway, Serve

GATE = """
import weakref
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)
api = gate.upstream("api", ORIGIN)
kept = []

KEEP = {
    "request": lambda request, response: request,
    "request headers": lambda request, response: request.headers,
    "response": lambda request, response: response,
    "response headers": lambda request, response: response.headers,
}
READ = {
    "request": lambda view: view.target,
    "request headers": lambda view: view.get("host"),
    "response": lambda view: view.status,
    "response headers": lambda view: view.get("content-type"),
}

@gate.route("/keep/{what}", to=api)
def untouched(request):
    request.headers["x-touched"] = "yes"

@untouched.response
def keep(request, response):
    response.headers["x-touched"] = "yes"
    kept.append(KEEP[request.params["what"].replace("-", " ")](request, response))

@gate.route("/weak", to=api)
def weak(request):
    kept.append(weakref.ref(request))

@gate.route("/read/{what}")
def read(request):
    what = request.params["what"].replace("-", " ")
    try:
        return Response(200, str(READ[what](kept.pop())))
    except RuntimeError as error:
        return Response(200, str(error))

@gate.route("/alive")
def alive(request):
    return Response(200, str(kept.pop()() is not None))
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(GATE, names={"ORIGIN": origin.address})


@pytest.mark.parametrize("what", ["request", "request-headers", "response", "response-headers"])
def test_kept_view_shows_no_other_request(gateway: RunningGateway, what: str) -> None:
    assert gateway.get(f"/keep/{what}").status == 200
    assert "this request is finished" in gateway.get(f"/read/{what}").text


def test_weakly_kept_request_is_gone_with_its_end(gateway: RunningGateway) -> None:
    assert gateway.get("/weak").status == 200
    assert gateway.get("/alive").text == "False"
