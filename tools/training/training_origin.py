"""The origin of the training: responds to each request with as many bytes as its path says (`/5000`)."""

import asyncio
import sys
from typing import cast

END = b"\r\n\r\n"


class Origin(asyncio.Protocol):
    """One connection: requests with or without a body that has a length, pipelined or not."""

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(END)) >= 0:
            head = self._data[:end].lower()
            at = head.find(b"content-length:")
            rest = end + len(END) + (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
            if len(self._data) < rest:
                return
            self._data = self._data[rest:]
            size = int(head.split(b" ", 2)[1].rsplit(b"/", 1)[1])
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sat, 01 Jan 2028 00:00:00 GMT\r\n"
                b'Content-Type: text/html\r\nLast-Modified: Sat, 01 Jan 2028 00:00:00 GMT\r\nETag: "1"\r\n'
                b"Cache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
            )


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(
        Origin, "127.0.0.1", int(sys.argv[1]), backlog=512
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
