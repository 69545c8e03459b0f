"""The demo's gateway: one upstream, one route, a hook on the way in and one on the way out."""

import os

from headgate import Gateway, Request, Response
from headgate import ResponseView as UpstreamResponse

gate = Gateway()
gate.listen(os.environ.get("DEMO_LISTEN", "127.0.0.1:8080"))
origin = gate.upstream("origin", os.environ.get("DEMO_ORIGIN", "127.0.0.1:8081"))


@gate.route("/", to=origin)
def welcome(request: Request) -> Response | None:
    """Tells the origin who calls; a visitor without a name gets its response here and never reaches it."""
    name = request.headers.get("x-name")
    if name is None:
        return Response.text("who are you? try: curl -H 'X-Name: Ada' ...\n", status=401)
    request.headers["x-visitor"] = name.upper()
    return None


@welcome.response
def sign(request: Request, response: UpstreamResponse) -> None:
    """Shows the client that the response came through this gateway."""
    response.headers["x-gateway"] = "headgate"
    response.headers["x-greeted"] = request.headers["x-visitor"]
