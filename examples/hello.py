"""Hello: a gateway with a response of its own, and one route to a server.

Run it with `headgate run examples/hello.py`, then `curl localhost:8080/hello/Ada`.
"""

from headgate import Gateway, Request, Response

gate = Gateway()
gate.listen("127.0.0.1:8080")


@gate.route("/hello/{name}")
def hello(request: Request) -> Response:
    """A route without an action: its hook responds."""
    return Response.text(f"hello, {request.params['name']}\n")


gate.route("/", to="127.0.0.1:9000")  # no hook: Python is never entered
