"""API versions: by path parameter, by header, and a default, each to its own servers."""

from headgate import Gateway, Request, Response

gate = Gateway()
gate.listen("127.0.0.1:8080")
first = gate.upstream("first", "127.0.0.1:9001")
second = gate.upstream("second", "127.0.0.1:9002")

# More conditions go first: this route asks for a header besides the path.
gate.route("/shop/*", headers={"x-api-version": "2"}, to=second, strip_prefix="/shop")
gate.route("/shop/*", to=first, strip_prefix="/shop")


@gate.route("/api/{version}/*", name="versioned", to=first)
def by_path(request: Request) -> Response | None:
    """A hook may choose the upstream by name."""
    match request.params["version"]:
        case "v1":
            request.upstream = "first"
        case "v2":
            request.upstream = "second"
        case other:
            return Response.json({"error": f"there is no version {other}"}, 404)
    return None
