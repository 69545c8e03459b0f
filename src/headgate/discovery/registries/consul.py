"""Consul: the healthy instances of a service, by blocking queries of its health API.

How it works: each query names the index of the response before, and Consul responds when there is another one. An
index that goes back means that Consul has lost its state, and is asked from the start (Consul's documentation,
"Blocking Queries": implementation details).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote, urlencode

from headgate._digits import whole_number
from headgate.config.registries import ConsulConfig, Registered

from ..services import port_of, text_of, weight_of, with_port
from .calls import RegistryFailed, get
from .listed import Listing, Server

WAIT_S = 60.0
"""How long Consul holds a query in which nothing changes; it adds up to a sixteenth."""
LIMIT_S = WAIT_S * 17 / 16 + 10
BETWEEN_S = 0.1
"""Between two queries, for a service that changes all the time."""


async def listings(config: ConsulConfig, sought: Registered) -> AsyncIterator[Listing]:
    """What is listed, at each change; raises `RegistryFailed`."""
    tls = ssl.create_default_context(cafile=config.ca) if config.url.startswith("https:") else None
    fields = {"x-consul-token": config.token.get_secret_value()} if config.token else {}
    index = 0
    while True:
        given: list[tuple[str, str]] = [("passing", "true"), *(("tag", one) for one in sought.tags)]
        if sought.dc:
            given.append(("dc", sought.dc))
        if index:
            given += [("index", str(index)), ("wait", f"{WAIT_S:g}s")]
        path = f"/v1/health/service/{quote(sought.name, safe='')}?{urlencode(given)}"
        async with get(config.url, path, limit_s=LIMIT_S, fields=fields, tls=tls) as response:
            told = next_index(index, response.fields.get("x-consul-index", ""))
            if told != index or not index:
                yield servers_in(await response.json())
        index = told
        await asyncio.sleep(BETWEEN_S)


def next_index(before: int, told: str) -> int:
    """The index for the next query: 0 where it went back, so that the next one is not held."""
    index = whole_number(told)
    if not index:
        raise RegistryFailed("the response has no index")
    return index if index >= before else 0


def servers_in(entries: Any) -> Listing:
    """The servers of a response of `/v1/health/service/NAME`."""
    try:
        return [_server(entry) for entry in entries]
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise RegistryFailed("the response is not a list of services") from None


def _server(entry: dict[str, Any]) -> Server:
    service = entry["Service"]
    address = service.get("Address") or entry["Node"]["Address"]
    weight = (service.get("Weights") or {}).get("Passing", 1)
    own = [service.get("Locality"), (entry.get("Node") or {}).get("Locality")]
    zones = (text_of(one.get("Zone")) for one in own if one)
    metadata = {name: text_of(value) or "" for name, value in (service.get("Meta") or {}).items()}
    return Server(
        with_port(address, port_of(service["Port"])),
        weight_of(weight),
        zone=next(filter(None, zones), None),
        metadata=metadata,
    )
