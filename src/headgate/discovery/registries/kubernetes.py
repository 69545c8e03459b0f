"""Kubernetes: the endpoints of a service, from all of its EndpointSlices (list, then watch).

How it works: the slices are listed in pages, then watched from the list's version on. Events, bookmarks among them,
move the version. Where the API server has forgotten it (410 Gone), all is listed anew. A service's servers are the
union of its slices: an address that moves from one to another is in both for a moment, and stays.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from headgate.config.registries import KubernetesConfig, Registered

from ..services import number_of, port_of, text_of, with_port
from .calls import RegistryFailed, get
from .listed import Listing, Server

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LIST_S, WATCH_S = 30.0, 300
PAGE = 500
BETWEEN_S = 1.0
GONE = 410
MOST_SLICES = 10_000
"""Of a service; a slice has at most 1000 endpoints."""


class Cluster:
    """Who is asked, and as whom."""

    def __init__(self, config: KubernetesConfig, account: Path = ACCOUNT) -> None:
        self._token, self._account = config.token, account
        host, port = (
            os.environ.get("KUBERNETES_SERVICE_HOST", ""),
            os.environ.get("KUBERNETES_SERVICE_PORT", "443"),
        )
        if not config.url and not host:
            raise RegistryFailed(
                "the gateway runs in no cluster; `resolver.kubernetes.url` says where the API server is"
            )
        self.url = config.url or f"https://{with_port(host, port_of(port))}"
        self.namespace = config.namespace or self._own("namespace") or "default"
        ca = config.ca or (str(account / "ca.crt") if (account / "ca.crt").exists() else None)
        self.tls = ssl.create_default_context(cafile=ca) if self.url.startswith("https:") else None

    @property
    def fields(self) -> dict[str, str]:
        """Of a request; the token of a service account is renewed in its file."""
        token = self._token.get_secret_value() if self._token else self._own("token")
        return {"authorization": f"Bearer {token}"} if token else {}

    def _own(self, name: str) -> str:
        try:
            return (self._account / name).read_text().strip()
        except OSError:
            return ""


async def listings(config: KubernetesConfig, sought: Registered) -> AsyncIterator[Listing]:
    """What is listed, at each change; raises `RegistryFailed`."""
    cluster = Cluster(config)
    space = sought.space or cluster.namespace
    path = f"/apis/discovery.k8s.io/v1/namespaces/{space}/endpointslices"
    chosen = {"labelSelector": f"kubernetes.io/service-name={sought.name}"}
    while True:
        slices, version = await _listed(cluster, path, chosen)
        yield servers_of(slices.values(), sought.port)
        async for _ in _watched(cluster, path, chosen, slices, version):
            yield servers_of(slices.values(), sought.port)
        await _pause()


async def _listed(cluster: Cluster, path: str, chosen: dict[str, str]) -> tuple[dict[str, Any], str]:
    """All slices by name, and the version of the list."""
    slices: dict[str, Any] = {}
    more, pages = "", 0
    while True:
        query = urlencode({**chosen, "limit": PAGE, **({"continue": more} if more else {})})
        async with get(
            cluster.url, f"{path}?{query}", limit_s=LIST_S, fields=cluster.fields, tls=cluster.tls
        ) as response:
            page = await response.json()
        try:
            slices |= {one["metadata"]["name"]: one for one in page["items"]}
            version, more = str(page["metadata"]["resourceVersion"]), page["metadata"].get("continue") or ""
        except (KeyError, TypeError, AttributeError):
            raise RegistryFailed("the response is not a list of EndpointSlices") from None
        if not more:
            return slices, version
        pages += 1
        if len(slices) > MOST_SLICES or pages > MOST_SLICES / PAGE:
            raise RegistryFailed("the list of EndpointSlices does not end")


async def _watched(
    cluster: Cluster, path: str, chosen: dict[str, str], slices: dict[str, Any], version: str
) -> AsyncIterator[str]:
    """Takes events into `slices`, and gives the version at each change, until it must be listed anew."""
    while True:
        query = urlencode(
            {
                **chosen,
                "watch": "1",
                "allowWatchBookmarks": "true",
                "resourceVersion": version,
                "timeoutSeconds": WATCH_S,
            }
        )
        try:
            async with get(
                cluster.url, f"{path}?{query}", limit_s=WATCH_S + 30, fields=cluster.fields, tls=cluster.tls
            ) as response:
                async for line in response.lines():
                    event = json.loads(line)
                    kind, changed = event["type"], event["object"]
                    if kind == "ERROR":
                        raise RegistryFailed(
                            str(changed.get("message", "error")), number_of(changed.get("code", 0))
                        )
                    version = str(changed["metadata"]["resourceVersion"])
                    if kind == "BOOKMARK":
                        continue
                    if kind == "DELETED":
                        slices.pop(changed["metadata"]["name"], None)
                    else:
                        slices[changed["metadata"]["name"]] = changed
                    if len(slices) > MOST_SLICES:
                        raise RegistryFailed("the service has too many EndpointSlices")
                    yield version
        except RegistryFailed as error:
            if error.status == GONE:
                return
            raise
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError):
            raise RegistryFailed("an event of the watch cannot be read") from None
        await _pause()


async def _pause() -> None:
    """Between two watches, and two lists: a server that ends each at once is not asked all the time."""
    await asyncio.sleep(BETWEEN_S * (0.5 + 0.5 * random.random()))


def servers_of(slices: Iterable[dict[str, Any]], port: str) -> Listing:
    """The servers of all slices of a service: those that are ready, or while there is none of these, those that end
    and still serve (kubernetes.io, "EndpointSlices": conditions; an absent `ready` is true).
    """
    ready: dict[str, str | None] = {}
    ending: dict[str, str | None] = {}
    try:
        for one in slices:
            _sort(one, port, ready, ending)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise RegistryFailed("an EndpointSlice is not one") from None
    return [Server(address, zone=zone) for address, zone in sorted((ready or ending).items())]


def _sort(
    one: dict[str, Any], port: str, ready: dict[str, str | None], ending: dict[str, str | None]
) -> None:
    """Puts the addresses of a slice where they belong, each with its zone."""
    number = _port(one.get("ports") or (), port)
    if number is None or one.get("addressType") == "FQDN":
        return
    for endpoint in one.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        zone = text_of(endpoint.get("zone"))
        addresses = [with_port(address, number) for address in endpoint.get("addresses") or ()]
        if conditions.get("ready") is not False:
            ready |= dict.fromkeys(addresses, zone)
        elif conditions.get("serving"):
            ending |= dict.fromkeys(addresses, zone)


def _port(ports: Iterable[dict[str, Any]], wanted: str) -> int | None:
    for one in ports:
        if one.get("port") and (not wanted or wanted in (one.get("name"), str(one["port"]))):
            return port_of(one["port"])
    return None
