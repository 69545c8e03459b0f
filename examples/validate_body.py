"""Request bodies are validated before a server sees them, and sent on in a normal form."""

from pydantic import BaseModel, Field, ValidationError

from headgate import Gateway, Request, Response


class Order(BaseModel):
    """What a client may order."""

    article: str = Field(pattern=r"^[a-z]+-\d+$")
    count: int = Field(ge=1, le=100)
    note: str = ""


gate = Gateway()
gate.listen("127.0.0.1:8080")
gate.limits(max_buffered_body_bytes="256k")


@gate.route("/orders", to="127.0.0.1:9000", methods="POST")
async def valid_orders_only(request: Request) -> Response | None:
    """Reads the body, compressed or not; a body over the limit gets 413 before this runs."""
    try:
        order = Order.model_validate_json(await request.body(decode=True))
    except ValidationError as error:
        told = [{"where": one["loc"], "what": one["msg"]} for one in error.errors()]
        return Response.json({"errors": told}, 422)
    except ValueError:
        return Response(400, "the body is not what its Content-Encoding says\n")
    request.set_body(order.model_dump_json(), content_type="application/json")
    return None


uploads = gate.route("/uploads/*", to="127.0.0.1:9000")


@uploads.request_body
def no_programs(request: Request, chunk: bytes, last: bool) -> Response | None:
    """Looks at the first bytes on their way; an upload may be as long as it likes."""
    begin = getattr(request.state, "begin", b"")
    if len(begin) < 4:  # the first chunks may be of one byte each
        request.state.begin = begin = (begin + chunk)[:4]
    return Response(415, "no programs, please\n") if begin == b"\x7fELF" else None
