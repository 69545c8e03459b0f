"""What plugins cost: CPU microseconds a request, over a gateway without any.

How it works: three gateways run in this process, with the real engine, one without the plugin and two with it; the
same bytes go through all in turns, pipelined over one connection, and the thread's own CPU time is taken. The least
of many rounds counts. *In Python* is the same without native actions, each hook called. On a busy machine two runs
still differ by some microseconds: run it twice before you believe a small cost.

    bench/plugins.py                     all plugins, a table on stdout
    bench/plugins.py cors rate-limit     two of them
    bench/plugins.py --rounds 60         more rounds, for a quieter table
"""

import argparse
import hashlib
import hmac
import itertools
import json
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import headgate.plugins
from headgate import Gateway, Plugin, Response
from headgate.plugins import BUILT_IN
from headgate.testing import TestGateway

REQUESTS = 200
OK = b"HTTP/1.1 200 "
"""What is counted: a search for whole bodies would cost the more the longer they are."""
BODY = "x" * 1024
ITEMS = [{"sku": f"s-{number:04}", "count": number, "price": number * 1.25} for number in range(20)]
ORDER = json.dumps({"id": 7, "title": "Momo", "customer": {"name": "a", "city": "b"}, "items": ITEMS})
PAGE = (
    f"<html><head><title>a</title></head><body>{'<p class=a>text <a href=/x>link</a></p>' * 24}</body></html>"
)
SHOP = str(Path(__file__).parents[1] / "examples/plugins/shop.json")
KEY = "0123456789abcdef0123456789abcdef"
LONGEST_S = 60
"""Nothing takes longer, on a busy machine either: a response is missing."""
_numbers = itertools.count()


class Case(NamedTuple):
    """A plugin as it is measured."""

    settings: dict[str, Any]
    fields: Callable[[], str] = lambda: ""
    """More header fields of each request."""
    target: Callable[[], str] = lambda: "/a/b?x=1"
    body: str = BODY
    """Of the response, about 1 KB."""
    content_type: str = "text/plain"


def _signed() -> str:
    target = f"/a?expires={int(time.time()) + 3600}"
    mac = hmac.new(KEY.encode(), f"GET\n{target}".encode(), hashlib.sha256).hexdigest()
    return f"{target}&signature={mac}"


def _nonce() -> str:
    return f"X-Nonce: nonce-{next(_numbers):08}\r\nX-Timestamp: {int(time.time())}\r\n"


def _ticket() -> str:
    mac = hmac.digest(KEY.encode(), b"waiting-room\x001", "sha256").hex()
    return f"Cookie: ticket=1-{mac}\r\n"


BROWSER = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
NETWORKS = [f"{a}.{b}.{c}.0/24" for a in range(11, 19) for b in range(120) for c in range(0, 200, 2)]
_JSON: dict[str, Any] = {"body": ORDER, "content_type": "application/json"}
_HTML: dict[str, Any] = {"body": PAGE, "content_type": "text/html"}
CASES: dict[str, Case] = {
    "cors": Case({"origins": ["https://a.example"]}, lambda: "Origin: https://a.example\r\n"),
    "key-auth": Case({"keys": {"alice": "key"}}, lambda: "X-API-Key: key\r\n"),
    "rate-limit": Case({"rate": "1000000/h", "burst": 10**9}),
    "rate-limit (sliding window)": Case({"rate": "1000000000/h", "algorithm": "sliding-window"}),
    "rate-limit (two rates)": Case({"rate": ["1000000/h", "1000000/d"], "burst": 10**9}),
    "concurrency-limit": Case({"limit": 1000}),
    "quota": Case({"amount": 1_000_000_000, "period": "month", "by": "address"}),
    "request-size": Case({"body": 1000, "target": 1000, "header_fields": 100}),
    "maintenance": Case({"enabled": False}),
    "circuit-breaker": Case({}),
    "ip-restriction": Case({"deny": ["192.0.2.0/24", "198.51.100.0/24"]}),
    "ip-restriction (96,000 networks)": Case({"deny": NETWORKS}),
    "ua-restriction": Case({"deny": ["curl", "wget", "~^python-requests/"]}, lambda: BROWSER),
    "referer-restriction": Case({"allow": ["a.example"]}, lambda: "Referer: https://a.example/x\r\n"),
    "uri-blocker": Case({"block": ["/wp-admin", "/.git", r"~\.(bak|sql)$"]}),
    "security-headers": Case({}),
    "csrf": Case({"secret": KEY, "session_cookie": "session"}),
    "signed-urls": Case({"keys": [KEY]}, target=_signed),
    "replay-protection": Case({}, _nonce),
    "honeypot": Case({}),
    "bot-detection": Case({}, lambda: BROWSER),
    "json-threat-protection": Case({}),
    "graphql-limits": Case({"max_depth": 5}, target=lambda: "/graphql?query={a{b}}"),
    "xml-threat-protection": Case({}),
    "tarpit": Case({}),
    "decompression": Case({}),
    "slo-alert": Case({"name": "bench", "objective": 99.9, "url": "http://127.0.0.1:9"}),
    "api-discovery": Case({"file": f"{tempfile.gettempdir()}/headgate-bench-api.json"}),
    "request-validation": Case({"body_schema": {"type": "object"}}),
    "request-coalescing": Case({}),
    "load-shedding": Case({}),
    "fault-injection": Case({"abort": {"status": 503, "percent": 1e-9}}),
    "response-faults": Case({"truncate": {"after_bytes": 1 << 20, "percent": 1e-9}}),
    "response-size": Case({"body": 1 << 20}),
    "error-pages": Case({"pages": {"5xx": {"text": "sorry"}}}),
    "har-capture": Case({"folder": "/tmp", "percent": 1e-9}),
    "compression (of another type)": Case({"types": ["image/png"]}, lambda: "Accept-Encoding: gzip\r\n"),
    "webhooks (signing)": Case({"sign": {"secrets": [f"whsec_{'a' * 32}"]}}),
    "aws-sigv4": Case({"access_key": "A", "secret_key": "b", "region": "eu-central-1", "service": "lambda"}),
    "compression": Case({"codings": ["gzip"]}, lambda: "Accept-Encoding: gzip\r\n", **_JSON),
    "body-transformer": Case({"response": {"template": "{{ body.title }}", "output": "text"}}, **_JSON),
    "json-patch": Case({"response": {"merge": {"customer": None, "links": {"self": "/"}}}}, **_JSON),
    "response-validation": Case({"openapi": SHOP}, target=lambda: "/v1/books/7", **_JSON),
    "mocking": Case({"openapi": SHOP}, target=lambda: "/v1/books/7"),
    "html-rewrite": Case({"rules": [{"select": "a[href]", "set": {"rel": "noopener"}}]}, **_HTML),
    "edge-side-includes (none in the page)": Case({}, **_HTML),
    "sub-filter": Case({"replace": [{"find": "old", "by": "new"}]}),
    "request-id": Case({}),
    "waiting-room (inside)": Case({"seats": 10, "secret": KEY}, _ticket),
    "headers": Case({"request": {"set": {"x-a": "b"}, "remove": ["x-c"]}, "response": {"set": {"x-d": "e"}}}),
    "headers (expression)": Case({"request": {"set": {"x-a": "=request.client.address"}}}),
    "proxy-rewrite": Case({"path": [{"match": "/a/(.*)", "to": r"/\1"}]}),
    "redirect": Case({"rules": [{"match": "/old/(.*)", "to": r"/\1"}], "trailing_slash": "remove"}),
    "response-rewrite": Case({"headers": {"set": {"x-a": "b"}}}),
}
NOT_MEASURED = {
    "canary": "needs servers",
    "traffic-split": "needs servers",
    "jsonpath": "has processes of its own",
    "jq": "has processes of its own",
    "azure-functions": "waits for a service",
    "degraphql": "waits for a service",
    "follow-redirects": "waits for a server",
    "google-functions": "waits for a service",
    "image-resize": "waits for workers",
    "kafka-rest": "waits for a service",
    "mqtt-routing": "is for streams",
    "precompressed": "is for files",
    "upload-scan": "waits for a service",
    "waf": "has processes of its own",
    "batch-requests": "responds to every request of its route",
    "ext-authz": "waits for a service",
    "ext-proc": "waits for a service",
    "forward-auth": "waits for a service",
    "grpc-transcode": "costs as its bodies are",
    "isolated": "has a process of its own",
    "mirror": "sends each request twice",
    "opa": "waits for a service",
    "shadow": "sends each request twice",
}
"""Plugins without a case, and why."""
TEN = (
    *("cors", "key-auth", "rate-limit", "ip-restriction", "ua-restriction", "uri-blocker"),
    *("security-headers", "request-size", "request-id", "headers"),
)


class Running:
    """A gateway that takes the bytes of a case."""

    def __init__(self, case: Case, plugins: list[Plugin], *, native: bool = True) -> None:
        gate = Gateway()
        gate.route("/", respond=Response(200, case.body, headers=[("content-type", case.content_type)]))
        for plugin in plugins:
            gate.use(plugin)
        self._gateway = TestGateway(gate, native=native)
        self._gateway.__enter__()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._socket = ours
        self._gateway._core.serve(  # a connection of one's own, past the kit's client
            theirs.detach(), address="203.0.113.7", port=1, scheme="http", listener="bench"
        )

    def round(self, requests: list[bytes]) -> float:
        """The CPU seconds that these requests take, one after another."""
        begin = time.thread_time()
        self._gateway.run(self._exchange(requests))
        return time.thread_time() - begin

    async def _exchange(self, requests: list[bytes]) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        for start in range(0, len(requests), 20):
            part = requests[start : start + 20]
            await loop.sock_sendall(self._socket, b"".join(part))
            received = b""
            while not _is_whole(received, len(part)):
                more = await asyncio.wait_for(loop.sock_recv(self._socket, 1 << 18), LONGEST_S)
                if not more:
                    raise ValueError(f"a plugin breaks the connection: {received[:200]!r}")
                received += more
            if received.count(OK) != len(part):
                raise ValueError(f"a plugin refuses what is measured: {received[:200]!r}")

    def close(self) -> None:
        """Ends it."""
        self._socket.close()
        self._gateway.close()


def _is_whole(received: bytes, count: int) -> bool:
    """Whether that many responses are there, the last to its end."""
    if received.count(b"HTTP/1.1 ") < count:
        return False
    head, end, body = received[received.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and (len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n"))


def requests(cases: list[Case]) -> list[bytes]:
    """The bytes of one round."""
    found = []
    for _ in range(REQUESTS):
        fields = "".join(one.fields() for one in cases)
        found.append(f"GET {cases[0].target()} HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n".encode())
    return found


def made(name: str) -> Plugin:
    """The plugin of a case."""
    kind: type[Plugin] = getattr(headgate.plugins, BUILT_IN[name.partition(" ")[0]].rpartition(":")[2])
    return kind(**CASES[name].settings)


def measured(names: list[str], rounds: int) -> tuple[float, float]:
    """Microseconds a request that these plugins take together, and what they take without native actions."""
    cases = [CASES[name] for name in names]
    every = [Running(cases[0], [])]
    least = [float("inf")] * 3
    try:
        every += [
            Running(cases[0], [made(name) for name in names], native=native) for native in (True, False)
        ]
        for _ in range(rounds):
            for which, running in enumerate(every):
                # made anew for each, since some take a request once
                least[which] = min(least[which], running.round(requests(cases)))
    finally:
        for running in every:
            running.close()
    natively, in_python = ((one - least[0]) / REQUESTS * 1e6 for one in least[1:])
    return natively, in_python


def lines(names: list[str], rounds: int) -> Iterator[str]:
    """The table."""
    yield "| plugin | us a request | in Python |"
    yield "|---|---|---|"
    for name in names:
        kind, _, more = name.partition(" ")
        yield f"| `{kind}`{more and f' {more}'} | {shown(measured([name], rounds))} |"
    if len(names) > 2:
        yield f"| ten at once: {', '.join(TEN)} | {shown(measured(list(TEN), rounds))} |"


def shown(costs: tuple[float, float]) -> str:
    """Two cells of the table."""
    return " | ".join(f"{cost:.1f}" for cost in costs)


def main() -> None:
    """Measures what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("plugins", nargs="*", help="short names; none: all")
    parser.add_argument("--rounds", type=int, default=25, help="rounds of each (25)")
    options = parser.parse_args()
    names = [name for name in CASES if not options.plugins or name.partition(" ")[0] in options.plugins]
    for line in lines(names, options.rounds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
