"""Error pages: what clients see when no server could respond, or no route fits."""

from headgate import Failure, Gateway, Request, Response

gate = Gateway()
gate.listen("127.0.0.1:8080")
gate.timeouts(connect="500ms", upstream_head="10s")
gate.limits(max_body_bytes="16m")
gate.route("/shop/*", to="127.0.0.1:9000")

PAGE = "<!doctype html><title>{status}</title><h1>{title}</h1><p>Tell us this number: {id}</p>"
TITLES = {
    404: "There is nothing here",
    413: "That is too much",
    502: "We will be back soon",
    504: "This takes too long",
}


@gate.error
def page(request: Request, error: Failure) -> Response | None:
    """Returning nothing leaves the gateway's own page."""
    title = TITLES.get(error.status)
    if title is None:
        return None
    return Response.html(PAGE.format(status=error.status, title=title, id=request.id), error.status)
