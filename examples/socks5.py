"""Another protocol on the same loop: a small SOCKS5 server (RFC 1928: CONNECT, no authentication)."""

import asyncio
import ipaddress
import os
from asyncio import StreamReader, StreamWriter
from contextlib import closing, suppress

from headgate import Gateway

gate = Gateway()
gate.listen("127.0.0.1:8080")
gate.route("=/healthz", respond="ok\n")


@gate.startup
async def begin() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", os.getenv("SOCKS_PORT", "1080"), reuse_port=True)
    gate.spawn(server.serve_forever())  # in each worker; ended, and the server closed, when it stops


async def serve(reader: StreamReader, writer: StreamWriter) -> None:
    with closing(writer), suppress(OSError):
        try:
            there, back = await asyncio.wait_for(connected(reader, writer), 10)
        except (OSError, ValueError, EOFError):
            return writer.write(b"\x05\x05\x00\x01" + bytes(6))
        with closing(back):
            writer.write(b"\x05\x00\x00\x01" + bytes(6))
            await asyncio.gather(pipe(reader, back), pipe(there, writer))


async def pipe(reader: StreamReader, writer: StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()  # never reads faster than the other side takes
    writer.write_eof()


async def connected(reader: StreamReader, writer: StreamWriter) -> tuple[StreamReader, StreamWriter]:
    version, count = await reader.readexactly(2)
    if version != 5 or 0 not in await reader.readexactly(count):
        raise ValueError("not SOCKS5 without authentication")
    writer.write(b"\x05\x00")
    _, command, _, kind = await reader.readexactly(4)
    if command != 1 or kind not in (1, 3, 4):
        raise ValueError("not CONNECT")
    raw = await reader.readexactly({1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0])
    port = int.from_bytes(await reader.readexactly(2), "big")
    return await asyncio.open_connection(raw.decode() if kind == 3 else str(ipaddress.ip_address(raw)), port)
