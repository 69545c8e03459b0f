"""Asks name servers one question: over UDP, and over TCP where a response was cut (RFC 7766 section 5); or over TLS.

How it works: each query has a socket of its own, connected to the server: its port is chosen at random, what anybody
else sends is not received, and no address of this host is kept for longer than one query. A server that is silent,
fails or refuses gives way to the next. A name that DNS calls an alias (CNAME) is followed within the response.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
from collections.abc import Sequence
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.SOA import SOA

from headgate.config.resolver import NameServer

from .outcomes import Failed, Nothing, Outcome, Resolved

PAYLOAD_BYTES = 1232
"""Of a response over UDP: what arrives in one piece nearly everywhere (DNS flag day 2020)."""
MOST_ALIASES = 16
RECORDS = 1
"""The section of a message with what was asked for (RFC 1035 section 4.1)."""


class _NextServer(Exception):
    """This one was of no use; the text says why."""


async def ask(
    servers: Sequence[NameServer],
    name: dns.name.Name,
    kind: str,
    *,
    timeout_s: float,
    attempts: int,
    trust: ssl.SSLContext | None = None,
) -> Outcome:
    """The records of one kind (`A`, `AAAA`, `SRV`) of an absolute name; `trust` is for servers that speak TLS."""
    reason = "no name server is known"
    for _ in range(attempts):
        for server in servers:
            try:
                async with asyncio.timeout(timeout_s):
                    return _read(await _exchange(server, name, kind, trust), name, kind)
            except TimeoutError:
                reason = f"{_shown(server)} did not respond within {timeout_s:g} s"
            except OSError as error:
                reason = f"{_shown(server)}: {error.strerror or error}"
            except _NextServer as error:
                reason = f"{_shown(server)}: {error}"
    return Failed(reason)


def _shown(server: NameServer) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"name server {host}:{server.port}"


async def _exchange(
    server: NameServer, name: dns.name.Name, kind: str, trust: ssl.SSLContext | None
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=0, payload=PAYLOAD_BYTES)
    query.id = random.SystemRandom().randrange(1 << 16)
    if server.certified_name:
        return await _over_tcp(server, query, trust)
    response = await _over_udp(server, query)
    if response is None or response.flags & dns.flags.TC:
        response = await _over_tcp(server, query)
    return response


async def _over_udp(server: NameServer, query: dns.message.Message) -> dns.message.Message | None:
    """None: the response was cut within a record."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as asked:
        await loop.sock_connect(asked, (server.host, server.port))
        await loop.sock_sendall(asked, query.to_wire())
        while True:
            data = await loop.sock_recv(asked, 1 << 16)
            try:
                response = dns.message.from_wire(data, ignore_trailing=True)
            except dns.exception.DNSException:
                if data[:2] == struct.pack("!H", query.id) and len(data) > 2 and data[2] & 0x02:
                    return None
                continue  # it may be forged: the right one may follow
            if query.is_response(response):
                return response


async def _over_tcp(
    server: NameServer, query: dns.message.Message, trust: ssl.SSLContext | None = None
) -> dns.message.Message:
    secured: dict[str, Any] = {}
    if server.certified_name:
        secured = {"ssl": trust, "server_hostname": server.certified_name}
    reader, writer = await asyncio.open_connection(server.host, server.port, **secured)
    try:
        data = query.to_wire()
        writer.write(struct.pack("!H", len(data)) + data)
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        response = dns.message.from_wire(await reader.readexactly(size), ignore_trailing=True)
    except asyncio.IncompleteReadError:
        raise _NextServer("it ended the connection") from None
    except dns.exception.DNSException as error:
        raise _NextServer(f"its response cannot be read: {error}") from None
    finally:
        writer.transport.abort()
    if not query.is_response(response) or response.flags & dns.flags.TC:
        raise _NextServer("its response is of another question, or cut")
    return response


def _read(response: dns.message.Message, name: dns.name.Name, kind: str) -> Outcome:
    """What a response says. Raises `_NextServer` for one that says nothing."""
    code = response.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise _NextServer(dns.rcode.to_text(code))
    wanted = dns.rdatatype.from_text(kind)
    ttls: list[int] = []
    for _ in range(MOST_ALIASES):
        if rrset := response.get_rrset(RECORDS, name, dns.rdataclass.IN, wanted):
            records = frozenset(record.to_text() for record in rrset)
            return Resolved(records, min([*ttls, rrset.ttl]))
        alias = response.get_rrset(RECORDS, name, dns.rdataclass.IN, dns.rdatatype.CNAME)
        if not alias:
            break
        ttls.append(alias.ttl)
        name = alias[0].target
    held = [
        min(rrset.ttl, record.minimum)
        for rrset in response.authority
        for record in rrset
        if isinstance(record, SOA)
    ]
    if code == dns.rcode.NOERROR and not held and not response.flags & dns.flags.RA and response.authority:
        raise _NextServer("it refers to other servers: it does not resolve names for others")
    ttl_s = min([*ttls, *held]) if held else None
    return Nothing("nxdomain" if code == dns.rcode.NXDOMAIN else "nodata", ttl_s)
