"""Requests that nobody means well, sent to each plugin: none makes a hook fail, takes long, or changes what the next
one gets. And each plugin in `mode: report` lets them all through as they came.
"""

import gzip
import json
import time
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from unit.plugins.test_twice import CASES, served

import headgate.plugins
from headgate import ConfigError, Gateway, Plugin
from headgate.plugins import BUILT_IN
from headgate.testing import TestGateway
from headgate.testing.wire import Broken

JSON, XML, FORM = "application/json", "application/xml", "application/x-www-form-urlencoded"
ENTITIES = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
BODIES: dict[str, tuple[str, bytes]] = {
    "nested JSON": (JSON, b"[" * 200_000),
    "nested members": (JSON, b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "long number": (JSON, b"1" * 300_000),
    "huge exponent": (JSON, b"[1e999999999, -1e999999999]"),
    "lone surrogate": (JSON, b'{"\\ud800": "\\udfff", "password": "\\ud800"}'),
    "two of a member": (JSON, b'{"a": 1, "a": {"a": [1, 2]}}'),
    "no UTF-8": (JSON, b'{"a": "\xff\xfe\x00"}'),
    "no JSON": (JSON, b"{"),
    "entities": (XML, f'<!DOCTYPE a [<!ENTITY e0 "x">{ENTITIES}]><a>&e11;</a>'.encode()),
    "nested XML": (XML, b"<a>" * 100_000),
    "many fields": (FORM, b"&".join(b"a%d=%%ff%%00" % number for number in range(50_000))),
    "broken parts": (
        "multipart/form-data; boundary=x",
        b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--x--",
    ),
    "no boundary": ("multipart/form-data", b"--\r\n\r\n--"),
    "many parts": ("multipart/form-data; boundary=x", b"--x\r\n\r\n" * 50_000),
    "odd type": ("application/json;charset=utf-7;;=,text/html;\x80", b"+AGE-"),
}
CODED: dict[str, tuple[str, bytes]] = {
    "bomb": ("gzip", gzip.compress(bytes(30_000_000))),
    "broken gzip": ("gzip", gzip.compress(b"{}")[:-9] + b"x" * 30),
    "bomb of deflate": ("deflate", zlib.compress(bytes(30_000_000))),
    "coded twenty times": (", ".join(["gzip"] * 20), gzip.compress(b"{}")),
    "unknown coding": ("\x80, gzip;q=1,,", b"{}"),
}
FIELDS = {
    "cookie": "=; ;;a; s=\x80\xff; s=1; " + "x=y; " * 1000,
    "authorization": "Basic =====",
    "accept": ",;q=9,*/*;q=-1,text/html;q=0.0000001" * 30,
    "accept-encoding": "gzip;q=nan,,*;q=,br;q=1.0001" * 30,
    "origin": "https://[::1",
    "referer": "https://%zz:99999999@[/\x80",
    "user-agent": "(" * 5000,
    "if-none-match": 'W/"' * 1000,
    "range": "bytes=" + "0-," * 1000,
    "sec-fetch-site": "\x80",
    "x-forwarded-for": "::ffff:999.1.1.1, unix:, " * 50,
    "traceparent": "00-" + "f" * 60,
    "x-api-key": "\x80" * 100,
    "x-nonce": "x" * 5000,
    "x-timestamp": "9" * 400,
    "webhook-timestamp": "\u0661".encode().decode("latin-1"),
    "webhook-signature": "v1," * 500,
    "content-language": "\x80",
}
TARGETS = (
    *(
        "/api/%ff%fe",
        "/api/%E2%82",
        "/api/..%2f..%2fetc",
        "/api/x?" + "&".join(f"a{n}=%ff" for n in range(1500)),
    ),
    *(
        "/api/" + "a/" * 1500,
        "/api/x?query=" + "{a" * 1500,
        "/api/x?%00=%00&&==&=&%",
        "/api/x?signature=%ff&expires=1e9",
    ),
    *("/api/x?width=9999999999999999999999&w=-1&h=nan", "/api/x?x=" + "(a+)+" * 400, "/api/;;;=/x;a=b/%3b"),
)


def hostile() -> Iterator[dict[str, Any]]:
    for target in TARGETS:
        yield {"method": "GET", "target": target}
    for name, value in FIELDS.items():
        yield {"method": "GET", "headers": [(name, value)]}
        yield {"method": "POST", "headers": [(name, value)] * 3, "body": b"{}"}
    yield {"method": "GET", "headers": [*FIELDS.items()]}
    yield {"method": "GET", "headers": [(f"x-{number}", "y" * 50) for number in range(90)]}
    yield {"method": "BREW", "headers": [("content-type", JSON)], "body": b"{}"}
    for kind, body in BODIES.values():
        yield {"method": "POST", "headers": [("content-type", kind)], "body": body}
    for coding, body in CODED.values():
        fields = [("content-type", JSON), ("content-encoding", coding)]
        yield {"method": "POST", "headers": fields, "body": body}


def running(name: str, **use: Any) -> TestGateway:
    kind: type[Plugin] = getattr(headgate.plugins, BUILT_IN[name].rpartition(":")[2])
    gate = Gateway()
    for upstream in "ab":
        gate.upstream(upstream, f"{upstream}.test:80")
    gate.route("/", to=gate.upstream("app", "server.test:80"))
    gate.use(kind(**CASES[name].first), on="/api/*", **use)
    upstreams: dict[str, Any] = dict.fromkeys(("app", "a", "b"), served)
    return TestGateway(gate, upstreams=upstreams, raise_errors=name != "response-faults")


def asked(gateway: TestGateway, ask: dict[str, Any]) -> int | str:
    """The status, or that the connection ended without one."""
    given = {"target": "/api/x", **ask}
    try:
        return gateway.request(
            given.pop("method"), given.pop("target"), given.pop("headers", []), **given
        ).status
    except Broken:
        return "cut off"


NAMES = sorted(set(BUILT_IN) - {"mqtt-routing"})
ACT = {"batch-requests", "follow-redirects", "grpc-transcode", "kafka-rest", "request-coalescing"}


@pytest.mark.parametrize("name", NAMES)
def test_no_hostile_request_makes_a_plugin_fail(name: str) -> None:
    with running(name) as gateway:
        before = [asked(gateway, {"method": "GET"}) for _ in range(2)][1]
        began = time.process_time()
        found = [(asked(gateway, ask), ask) for ask in hostile()]
        assert time.process_time() - began < 60  # what is not bounded takes hours
        assert [str(ask)[:200] for status, ask in found if status == 500] == []
        if name not in ("circuit-breaker", "rate-limit", "quota", "tarpit", "honeypot", "slo-alert"):
            assert asked(gateway, {"method": "GET"}) == before


@pytest.mark.parametrize("name", sorted(set(NAMES) - ACT))
def test_in_mode_report_every_request_goes_on_as_it_came(name: str) -> None:
    gate = Gateway()
    gate.route("/", to=gate.upstream("app", "server.test:80"))
    with TestGateway(gate, upstreams={"app": served}) as plain, running(name, mode="report") as gateway:
        for ask in [*map(dict, CASES_OF_REPORT), {"method": "GET", "target": "/api/x?a=1"}]:
            assert asked(gateway, ask) == asked(plain, ask), ask
        ours = [one for one in gateway.received if one.upstream == "app"]
        sent = [(one.method, one.target, one.body, fields(one)) for one in ours]
        assert sent == [(one.method, one.target, one.body, fields(one)) for one in plain.received]


@pytest.mark.parametrize("name", sorted(ACT))
def test_what_would_be_done_twice_has_no_dry_run(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"a dry run of `{name}` would do twice what the client asks for"):
        running(name, mode="report")


CASES_OF_REPORT: tuple[dict[str, Any], ...] = (
    {
        "method": "GET",
        "headers": [("origin", "https://evil.example"), ("user-agent", "curl/8"), ("cookie", "s=1")],
    },
    {"method": "POST", "headers": [("content-type", JSON)], "body": json.dumps({"a": [[[[1]]]]}).encode()},
    {"method": "POST", "headers": [("content-type", XML)], "body": b"<a><a><a/></a></a>"},
    {"method": "GET", "target": "/api/wp-admin/.git?signature=x"},
)


def fields(one: Any) -> list[tuple[str, str]]:
    unseen = ("x-request-id", "via", "x-consumer", "accept-encoding")
    return sorted((name, value) for name, value in one.headers.items() if name not in unseen)
