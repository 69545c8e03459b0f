"""Docker: running containers with the label `headgate.service`, listed anew at each event.

Labels of a container: `headgate.service` (the name), `headgate.port` (default: its only exposed port),
`headgate.weight`, and `headgate.network` (default: the first one in which it has an address).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

from headgate.config.registries import DockerConfig, Registered

from ..services import port_of, weight_of, with_port
from .calls import RegistryFailed, get
from .listed import Listing, Server

LIST_S = 10.0
EVENTS_S = 60.0
"""After so long without an event all is listed anew."""


async def listings(config: DockerConfig, sought: Registered) -> AsyncIterator[Listing]:
    """What is listed, at each event; raises `RegistryFailed`."""
    label = f"headgate.service={sought.name}"
    chosen = urlencode({"filters": json.dumps({"label": [label], "type": ["container"]})})
    running = urlencode({"filters": json.dumps({"label": [label], "status": ["running"]})})
    while True:
        # listened to before the list is read, so that nothing is missed between the two
        async with get(config.url, f"/events?{chosen}", limit_s=None) as events:
            lines = aiter(events.lines())
            coming = asyncio.ensure_future(anext(lines))
            try:
                while True:
                    async with get(config.url, f"/containers/json?{running}", limit_s=LIST_S) as response:
                        yield servers_in(await response.json())
                    await asyncio.wait([coming], timeout=EVENTS_S)
                    if coming.done():
                        coming.result()
                        coming = asyncio.ensure_future(anext(lines))
            except StopAsyncIteration:
                continue
            finally:
                coming.cancel()


def servers_in(containers: Any) -> Listing:
    """The servers of a response of `/containers/json`: those that are not unhealthy, or still starting."""
    try:
        found = [_server(one) for one in containers if not _is_out(one.get("Status", ""))]
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise RegistryFailed("the response is not a list of containers") from None
    return sorted(one for one in found if one)


def _is_out(status: str) -> bool:
    return "(unhealthy)" in status or "(health: starting)" in status


def _server(container: dict[str, Any]) -> Server | None:
    labels = container.get("Labels") or {}
    networks = (container.get("NetworkSettings") or {}).get("Networks") or {}
    wanted = labels.get("headgate.network")
    addresses = [
        network.get("IPAddress") or network.get("GlobalIPv6Address")
        for name, network in sorted(networks.items())
        if wanted in (None, name)
    ]
    address = next((one for one in addresses if one), None)
    ports = sorted({one["PrivatePort"] for one in container.get("Ports") or () if one.get("Type") == "tcp"})
    port = labels.get("headgate.port") or (str(ports[0]) if len(ports) == 1 else None)
    if not address or port is None:
        return None
    return Server(with_port(address, port_of(port)), weight_of(labels.get("headgate.weight", 1)))
