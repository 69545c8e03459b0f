"""What signatures cover, over real connections: what is changed is refused, over HTTP/1.1 and HTTP/2 alike."""

import base64
import time
from collections.abc import Callable
from typing import NamedTuple

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve
from e2e.kit.http2 import Http2Client

from headgate.plugins.signed_urls import signature as signature_of_url
from headgate.plugins.webhooks import signature as signature_of_message

KEY = "a key of thirty-two characters ."
SECRET = base64.b64encode(KEY.encode()).decode()


class Asked(NamedTuple):
    """A request, whatever the protocol."""

    target: str
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None


def by_http1(gateway: RunningGateway, asked: Asked) -> int:
    with RawClient(gateway.address) as client:
        return client.request(asked.method, asked.target, asked.fields, body=asked.body).status


def by_http2(gateway: RunningGateway, asked: Asked) -> int:
    with Http2Client(gateway.address) as client:
        fields = [(name.lower(), value) for name, value in asked.fields]
        return client.response(
            client.request(asked.target, method=asked.method, fields=fields, body=asked.body)
        ).status


Send = Callable[[RunningGateway, Asked], int]
PROTOCOLS = pytest.mark.parametrize("send", [by_http1, by_http2])


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(
        {
            "routes": [{"to": origin.address}],
            "plugins": [
                {"plugin": "signed-urls", "on": "/files/*", "config": {"keys": [KEY]}},
                {
                    "plugin": "webhooks",
                    "on": "/hooks",
                    "config": {"verify": {"secrets": [f"whsec_{SECRET}"]}},
                },
                {"plugin": "replay-protection", "on": "/once", "config": {"skew": 60}},
            ],
        },
        workers=1,
    )


@PROTOCOLS
def test_each_part_of_a_signed_url_counts_in_every_version(gateway: RunningGateway, send: Send) -> None:
    end = int(time.time()) + 600
    target = f"/files/a.zip?size=1&expires={end}"
    signed = signature_of_url(KEY.encode(), "GET", target)

    def status(target: str, method: str = "GET") -> int:
        return send(gateway, Asked(target, method))

    assert status(f"{target}&signature={signed}") == 200
    for changed in (
        f"/files/b.zip?size=1&expires={end}&signature={signed}",
        f"/files/a.zip?size=2&expires={end}&signature={signed}",
        f"/files/a.zip?expires={end}&signature={signed}",
        f"/files/a.zip?size=1&expires={end + 1}&signature={signed}",
        f"{target}&signature={signed[:-1]}{'1' if signed[-1] == '0' else '0'}",
        f"{target}&signature={signed}&more=1",
        target,
        "/files/a.zip",
    ):
        assert status(changed) == 403, changed
    assert status(f"{target}&signature={signed}", "DELETE") == 403
    old = f"/files/a.zip?expires={int(time.time()) - 5}"
    assert status(f"{old}&signature={signature_of_url(KEY.encode(), 'GET', old)}") == 403


def message(id: str, moment: int, body: bytes, /, **changed: str) -> Asked:
    signed = signature_of_message(KEY.encode(), id, str(moment), body)
    fields = {"id": id, "timestamp": str(moment), "signature": signed, **changed}
    given = tuple((f"Webhook-{name.title()}", value) for name, value in fields.items())
    return Asked("/hooks", "POST", given, body)


@PROTOCOLS
def test_each_part_of_a_webhook_counts_in_every_version(gateway: RunningGateway, send: Send) -> None:
    now, id = int(time.time()), f"msg-{send.__name__}"
    good = message(id, now, b'{"a":1}')
    for changed in (
        good._replace(body=b'{"a":2}'),
        good._replace(body=b""),
        message(id, now, b'{"a":1}', id="msg-other"),
        message(id, now, b'{"a":1}', timestamp=str(now + 1)),
        message(id, now - 3600, b'{"a":1}'),
        message(id, now, b'{"a":1}', signature="v1,AAAA"),
        good._replace(fields=()),
    ):
        assert send(gateway, changed) == 403, changed
    assert send(gateway, good) == 200
    # what was taken over one version is not taken over another
    assert [by_http1(gateway, good), by_http2(gateway, good)] == [409, 409]


@PROTOCOLS
def test_a_nonce_counts_once_over_all_versions(gateway: RunningGateway, send: Send) -> None:
    nonce = (("X-Nonce", f"nonce-{send.__name__}"), ("X-Timestamp", str(int(time.time()))))
    assert send(gateway, Asked("/once", fields=nonce)) == 200
    assert [
        by_http1(gateway, Asked("/once", fields=nonce)),
        by_http2(gateway, Asked("/once", fields=nonce)),
    ] == [403, 403]
