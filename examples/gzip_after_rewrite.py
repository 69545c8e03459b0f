"""Chained response filters: text is rewritten, then compressed for clients that take it, however the server sent it."""

import re
import zlib

from headgate import Gateway, Plugin, Request, ResponseView, body_mode

GZIP = 31  # zlib's word for: the largest window, in a gzip wrapper
TAKES_GZIP = re.compile(r"(?i)(^|,)\s*gzip\s*($|,|;\s*q=(1|0\.\d*[1-9]))")


class Gzip(Plugin):
    """Compresses text; listed first, so it runs last on the way back."""

    def response(self, request: Request, response: ResponseView) -> None:
        """Says so in the head, where the body is text that nobody has compressed yet."""
        kind = response.headers.get("content-type", "").lower()
        if not kind.startswith("text/") or response.status == 206 or "content-encoding" in response.headers:
            return  # a part of a text is a part of what was not compressed
        response.headers.add("vary", "accept-encoding")
        if TAKES_GZIP.search(request.headers.get("accept-encoding", "")):
            response.headers["content-encoding"] = "gzip"
            request.state.gzip = zlib.compressobj(wbits=GZIP)

    def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | None:
        """Chunk by chunk: the last one ends the stream."""
        gzip = getattr(request.state, "gzip", None)
        if gzip is None:
            return None
        packed: bytes = gzip.compress(chunk)
        return packed + gzip.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


class Rewrite(Plugin):
    """Replaces a word, which may lie across two chunks: so it takes the body whole, and as text."""

    @body_mode("buffer", limit="1m", decode=True)
    def response_body(self, request: Request, response: ResponseView, chunk: bytes, last: bool) -> bytes:
        """What the server compressed arrives here as text, and leaves compressed again."""
        return chunk.replace(b"http://internal.example", b"https://www.example.com")


gate = Gateway()
gate.listen("127.0.0.1:8080")
gate.use(Gzip())
gate.use(Rewrite())
gate.route("/", to="127.0.0.1:9000")
