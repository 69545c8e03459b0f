"""Redirects of the origin are followed here, so that clients never see them (in nginx: `error_page 302 = @again`)."""

import os

from headgate import FetchError, Gateway, Response

gate = Gateway()
gate.listen(os.environ.get("LISTEN", "127.0.0.1:8080"))
api = gate.upstream("api", os.environ.get("ORIGIN", "127.0.0.1:9000"))
MOVED = (301, 302, 303, 307, 308)


@gate.route("/", to=api)
def proxied(request):
    """Goes to the origin as it is; what comes back is looked at below."""


@proxied.response
async def follow(request, response):
    if response.status not in MOVED or request.method not in ("GET", "HEAD"):
        return None
    location = response.headers.get("location", "")
    if not location.startswith("/") or location.startswith("//"):
        return None  # elsewhere: that is for the client to follow
    target = location.partition("#")[0]  # a fragment is for the client alone
    try:
        found = await api.fetch(target, method=request.method, headers=request.headers, redirects=5)
    except (FetchError, ValueError):
        return Response(502, "the origin redirects in circles, or to where nothing is\n")
    kept = [(name, value) for name, value in found.headers.items() if name != "set-cookie"]
    return Response.stream(found.stream(), found.status, headers=kept)
