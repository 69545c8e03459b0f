"""Another protocol on the same loop: a small SOCKS5 server (RFC 1928: CONNECT, no authentication)."""

import asyncio
import ipaddress
import os
from asyncio import StreamReader, StreamWriter

from headgate import Gateway

gate = Gateway()
gate.listen("127.0.0.1:8080")
gate.route("=/healthz", respond="ok\n")


@gate.startup
async def begin() -> None:
    """Every worker listens on the same port: the kernel shares connections out among them."""
    port = int(os.environ.get("SOCKS_PORT", "1080"))
    server = await asyncio.start_server(serve, "127.0.0.1", port, reuse_port=True)
    gate.spawn(server.serve_forever())  # ended, and the server closed, when the worker stops


async def serve(reader: StreamReader, writer: StreamWriter) -> None:
    ends = [writer]
    try:
        async with asyncio.timeout(10):
            host, port = await asked(reader, writer)
            there, back = await asyncio.open_connection(host, port)
        ends.append(back)
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await asyncio.gather(pipe(reader, back), pipe(there, writer))
    except (OSError, TimeoutError, ValueError, EOFError):
        if len(ends) == 1:
            writer.write(b"\x05\x05\x00\x01" + bytes(6))
    finally:
        for end in ends:
            end.close()


async def asked(reader: StreamReader, writer: StreamWriter) -> tuple[str, int]:
    """Section 3: methods; section 4: the request."""
    version, count = await reader.readexactly(2)
    if version != 5 or 0 not in await reader.readexactly(count):
        raise ValueError("not SOCKS5 without authentication")
    writer.write(b"\x05\x00")
    _, command, _, kind = await reader.readexactly(4)
    if command != 1 or kind not in (1, 3, 4):
        raise ValueError("not CONNECT")
    raw = await reader.readexactly({1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0])
    port = int.from_bytes(await reader.readexactly(2), "big")
    return (raw.decode() if kind == 3 else str(ipaddress.ip_address(raw))), port


async def pipe(reader: StreamReader, writer: StreamWriter) -> None:
    """Never reads faster than the other side takes."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
