"""A server whose chunks are malformed gets the same verdict whichever version of HTTP the client speaks."""

import pytest
from e2e.kit import Origin, Serve
from e2e.kit.behaviours import raw
from e2e.kit.client import format_request
from e2e.kit.http2 import Http2Client

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODIES = {
    "the first size": b"zz\r\n",
    "a later size": b"2\r\nok\r\nzz\r\n",
    "the end of a chunk": b"2\r\nokxx",
    "a trailer without a colon": b"2\r\nok\r\n0\r\nbad trailer\r\n\r\n",
    "a trailer with a NUL": b"2\r\nok\r\n0\r\na: \0\r\n\r\n",
}
GATE = """
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
gate.route("/plain", to=ORIGIN)
seen = gate.route("/seen", to=ORIGIN)

@seen.response_body
def look(request, response, chunk, last):
    return chunk
"""


@pytest.mark.parametrize("path", ["/plain", "/seen"])
@pytest.mark.parametrize("fault", BODIES)
def test_a_fault_behind_the_head_is_a_502(serve: Serve, fault: str, path: str) -> None:
    with Origin() as origin:
        origin.on(path, raw(HEAD + BODIES[fault]))
        gateway = serve(GATE, names={"ORIGIN": origin.address})
        with gateway.client() as client:
            client.send(format_request("GET", path))
            one = client.response()
        with Http2Client(gateway.address) as http2:
            two = http2.response(http2.request(path))
        assert (one.status, two.status, two.is_ended) == (502, 502, True)
        assert b"malformed" in one.body and b"malformed" in two.body
