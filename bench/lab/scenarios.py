"""The scenarios whose figure is CPU per request: a table of wrk runs. The others are in special.py and lasting.py."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .measure import Figures, load

Measure = Callable[..., Figures | None]

# column: how many digits; `*` shows the spread over the rounds too; the first one is the scenario's figure
LOAD = {
    "us": "*1",
    "norm": "*1",
    "user": "1",
    "sys": "1",
    "busy": "0",
    "rps": "0",
    "p99": "*1",
    "errors": "0",
}
NOISE = {"other": "0", "pace": "2"}


@dataclass
class Scenario:
    """What is measured, `measure(proxy, seconds, **case)`, over which cases, how often and how long."""

    name: str
    about: str
    measure: Measure
    cases: Mapping[str, Mapping[str, Any]]
    columns: Mapping[str, str] = field(default_factory=lambda: LOAD | NOISE)
    rounds: int = 10
    seconds: float = 1
    peers: tuple[str, ...] | None = None  # none: those asked for on the command line
    over_first: bool = False  # show the difference to the first case
    direct: bool = False  # measure the origin alone too


def loads(name: str, about: str, cases: Mapping[str, Mapping[str, Any]], **options: Any) -> Scenario:
    """A scenario of plain wrk runs."""
    return Scenario(name, about, functools.partial(load), cases, **options)


WALK = {"script": "routes.lua"}
HOOK = {"headers": {"role": "headers", "expect": rb"(?i)\nx-gw:"}}
SCENARIOS = [
    loads("h1-small", "HTTP/1.1, 100 keep-alive connections, 12-byte body.", {"12 B": {"path": "/small"}}),
    loads("h1-5k", "HTTP/1.1, 100 keep-alive connections, 5 KB body.", {"5k": {"path": "/5k"}}),
    loads("h1-64k", "HTTP/1.1, 100 keep-alive connections, 64 KB body.", {"64k": {"path": "/64k"}}),
    loads("h1-1m", "HTTP/1.1, 100 keep-alive connections, 1 MB body.", {"1m": {"path": "/1m"}}),
    loads(
        "h1-conns",
        "HTTP/1.1 keep-alive, 5 KB body, by number of connections.",
        {f"{n} connections": {"connections": n} for n in (1, 100, 1000)},
        columns=LOAD | {"mem": "1"} | NOISE,
        rounds=3,
        seconds=2,
    ),
    loads(
        "h1-newconn",
        "A new connection for each request (Connection: close), 5 KB body, 100 at a time.",
        {"close": {"headers": ("X-User: me", "Connection: close")}},
    ),
    loads(
        "h1-post",
        "POST with a 16 KB body, 3-byte response, 100 keep-alive connections.",
        {"16k": {"path": "/post", "script": "post.lua"}},
    ),
    loads(
        "log",
        "The access log on, written to a file: as by default (nginx: one write a request), and buffered "
        "(nginx: `buffer=64k flush=1s`). 5 KB body.",
        {"default": {"role": "log"}, "buffered": {"role": "logbuf"}},
    ),
    loads(
        "tls-5k",
        "HTTP/1.1 over TLS 1.3 (AES-128-GCM, RSA certificate), 100 keep-alive connections, 5 KB body. Longer "
        "slices, because each opens with 100 handshakes.",
        {"5k": {"role": "tls"}},
        rounds=4,
        seconds=4,
    ),
    loads(
        "tls-64k",
        "HTTP/1.1 over TLS 1.3 (AES-128-GCM, RSA certificate), 100 keep-alive connections, 64 KB body.",
        {"64k": {"role": "tls", "path": "/64k"}},
        rounds=3,
        seconds=3,
    ),
    loads(
        "tls-1m",
        "HTTP/1.1 over TLS 1.3 (AES-128-GCM, RSA certificate), 100 keep-alive connections, 1 MB body.",
        {"1m": {"role": "tls", "path": "/1m"}},
        rounds=3,
        seconds=3,
    ),
    loads(
        "sni-1m",
        "TLS carried on by its server name (SNI) without being decrypted: 1 MB transfers, CPU us each; over kept "
        "connections, and a connection each.",
        {
            "kept": {"path": "/1m", "role": "sni", "connections": 20},
            "new": {"path": "/1m", "role": "sni", "connections": 20, "headers": ("Connection: close",)},
        },
        rounds=5,
        seconds=3,
        peers=("haproxy",),
    ),
    loads(
        "routes-10k",
        "10,000 host+prefix routes (1,000 hosts x 10 prefixes) against one catch-all route; the same random walk "
        "over all routes is sent to both. 5 KB body.",
        {"1 route": WALK, "10k routes": WALK | {"role": "routes"}},
        columns=LOAD | {"mem": "1"} | NOISE,
        rounds=5,
        over_first=True,
    ),
    loads(
        "hooks",
        "Hooks: none; a request header read and one set, a response header set; the same with `async def` hooks "
        "that do not wait.",
        {"none": {}} | HOOK | {"async": {"role": "async", "expect": rb"(?i)\nx-gw:"}},
        rounds=5,
        peers=("lua",),
        over_first=True,
    ),
    loads(
        "body-hook",
        "A hook puts another 5 KB in the place of the response's body; one upper-cases it (`body_filter_by_lua`).",
        {"none": {}, "replace": {"role": "replace"}, "upper": {"role": "body"}},
        rounds=5,
        peers=("lua",),
        over_first=True,
    ),
    loads(
        "body-chunks",
        "A hook sees each chunk of a 1 MB response; what counts is the rate beside none.",
        {"none": {"path": "/1m"}, "chunks": {"path": "/1m", "role": "chunks"}},
        rounds=5,
        peers=("lua",),
        over_first=True,
    ),
    loads(
        "shared-incr",
        "A counter in a shared dictionary is incremented for each request, by a hook (`incr` of `ngx.shared.DICT`).",
        {"none": {}, "incr": {"role": "dict"}},
        rounds=5,
        peers=("lua",),
        over_first=True,
    ),
    loads(
        "fetch",
        "The response is made of one that the hook fetches from the origin, 5 KB: `ngx.location.capture`, and "
        "`upstream.fetch` in an `async def`.",
        {"none": {}, "fetch": {"role": "fetch"}},
        rounds=5,
        peers=("lua",),
        over_first=True,
    ),
    loads(
        "redis",
        "One Redis GET a request, its value sent on: lua-nginx-redis over a cosocket, and `headgate.Redis`.",
        {"none": {}, "redis": {"role": "redis"}},
        rounds=5,
        peers=("lua",),
        over_first=True,
    ),
    loads(
        "asgi",
        "A plain ASGI application that responds with 5 KB, in process, beside servers made for that, one process each.",
        {"5k": {"role": "asgi"}},
        rounds=5,
        peers=("uvicorn", "granian"),
    ),
]
