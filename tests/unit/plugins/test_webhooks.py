"""webhooks: signatures as the specification's own library makes them, replays, new secrets, and hostile fields."""

import base64
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Request, Response
from headgate.plugins import Webhooks
from headgate.plugins.webhooks import signature
from headgate.testing import Fault, TestGateway

SERVER = "server.test:80"
OLD, NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eX2A="
ID, NOW = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330
# what the library `standardwebhooks` 1.1.0 (Python) gives for ID and NOW
VECTORS = [
    (OLD, '{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    (OLD, "", "v1,v48jdbgvh29KJz2Qc+ghw8G6vG3nAKnujWBg8oM/62A="),
    (OLD, "\xfc \u20ac \n", "v1,4e8Z/9L/2mH7ptQchfp3ZboqxNjwuWtHXTk1f+SMGJ4="),
    (OLD, "x" * 1000, "v1,LVhiIQptmI8bhg3qN5VynoSb8EArA3yhstDi/8rXzbM="),
    (NEW, '{"test": 2432232314}', "v1,3ZgCj+VwveIC4065boZyzGLJ1qpQB8t9xT/W9NbkoOs="),
    (NEW, "", "v1,QTIHjzdMNQgKKVcNLX9V9Jb6HpjZHfhk7F2nQyZyaKM="),
    (NEW, "\xfc \u20ac \n", "v1,sLT0cmlk2Z12h9ii813rpQrtHAbv107r3gBJumWohTg="),
    (NEW, "x" * 1000, "v1,HGWDuW7fd87FmHKlFVLAYwoLL8agFZKrQ/75PL14PEM="),
]


def key_of(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix("whsec_"))


def signed(
    body: str = "{}", *, secret: str = OLD, id: str = ID, moment: Any = NOW, prefix: str = "webhook"
) -> dict[str, str]:
    told = signature(key_of(secret), id, str(moment), body.encode())
    return {f"{prefix}-id": id, f"{prefix}-timestamp": str(moment), f"{prefix}-signature": told}


def running(server: Any = "ok", now: float = NOW, **settings: Any) -> TestGateway:
    gate = Gateway()
    gate.route("/", to=SERVER)
    verify = {"secrets": [OLD], **settings.pop("verify", {})}
    plugin = Webhooks(**(settings if "sign" in settings else {"verify": verify, **settings}))
    gate.use(plugin)
    plugin._clock = lambda: now
    return TestGateway(gate, upstreams={SERVER: server})


@pytest.mark.parametrize(("secret", "body", "expected"), VECTORS)
def test_the_reference_library_signs_the_same(secret: str, body: str, expected: str) -> None:
    fields = {"webhook-id": ID, "webhook-timestamp": str(NOW), "webhook-signature": expected}
    with running(verify={"secrets": [secret]}) as gateway:
        assert gateway.post("/", body, fields).status == 200
        assert gateway.post("/", body + "x", fields).status == 403
    with running(sign={"secrets": [secret]}) as gateway:
        assert gateway.post("/", body, {"webhook-id": ID}).status == 200
        received = gateway.received[0]
    assert {name: received.headers[name] for name in fields} == fields and received.body == body.encode()


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": signature(key_of(NEW), ID, str(NOW), b"{}")},
        {"webhook-signature": signature(key_of(OLD), ID, str(NOW), b"{}").replace("v1,", "v1a,")},
        {"webhook-signature": signature(key_of(OLD), ID, str(NOW), b"{}")[3:]},
        {"webhook-signature": signature(key_of(OLD), ID, str(NOW), b"{}").rstrip("=")},
        {"webhook-signature": "v1,\u00fc\u20ac"},
        {"webhook-signature": "v1,x " * 32 + signature(key_of(OLD), ID, str(NOW), b"{}")},
        {"webhook-signature": "v1,x " * 1000},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "1614265330.0"},
        {"webhook-timestamp": "\u0661\u0666"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-id": "x" * 257},
        {"webhook-id": ""},
    ],
)
def test_whatever_is_changed_is_refused(change: dict[str, str]) -> None:
    with running() as gateway:
        assert gateway.post("/", "{}", {**signed(), **change}).status == 403
        assert gateway.post("/", "{}", [*signed().items(), *change.items()]).status == 403
        assert gateway.received == []
        assert gateway.post("/", "{}", signed()).status == 200


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_field_is_needed(name: str) -> None:
    fields = signed()
    del fields[name]
    with running() as gateway:
        assert gateway.post("/", "{}", fields).status == 403


def test_a_body_cannot_lend_its_beginning_to_the_id() -> None:
    body = f"{NOW}.rest"
    told = signature(key_of(OLD), "a", str(NOW), body.encode())
    moved = {"webhook-id": f"a.{NOW}", "webhook-timestamp": str(NOW), "webhook-signature": told}
    assert signature(key_of(OLD), f"a.{NOW}", str(NOW), b"rest") == told
    with running() as gateway:
        assert gateway.post("/", "rest", moved).status == 403
        assert gateway.post("/", body, {**moved, "webhook-id": "a"}).status == 200


@pytest.mark.parametrize(("off", "status"), [(-301, 403), (-300, 200), (0, 200), (300, 200), (301, 403)])
def test_the_time_is_near(off: int, status: int) -> None:
    with running() as gateway:
        assert gateway.post("/", "{}", signed(moment=NOW + off)).status == status


def test_secrets_are_changed_without_a_gap() -> None:
    with running(verify={"secrets": [OLD, NEW]}) as gateway:
        statuses = [gateway.post("/", "{}", signed(secret=one, id=one[-5:-1])).status for one in (OLD, NEW)]
    assert statuses == [200, 200]
    with running(sign={"secrets": [OLD, NEW]}) as gateway:
        gateway.post("/", "{}")
        told = gateway.received[0].headers
    with running(verify={"secrets": [NEW]}) as gateway:
        assert gateway.post("/", "{}", dict(told)).status == 200


def test_the_same_message_is_taken_once_and_a_new_attempt_again() -> None:
    with running() as gateway:
        statuses = [gateway.post("/", "{}", signed(moment=one)).status for one in (NOW, NOW, NOW + 1, NOW)]
    assert statuses == [200, 409, 200, 409]
    with running(verify={"once": False}) as gateway:
        assert [gateway.post("/", "{}", signed()).status for _ in range(2)] == [200, 200]


@pytest.mark.parametrize("failure", [500, 404, Fault.CUT])
def test_a_message_that_failed_may_come_again(failure: Any) -> None:
    with running([failure, failure, "ok"]) as gateway:
        statuses = [gateway.post("/", "{}", signed()).status for _ in range(4)]
    assert statuses[2:] == [200, 409] and all(400 <= one < 600 and one != 409 for one in statuses[:2])


def test_a_message_is_taken_once_however_many_come_at_once() -> None:
    with running() as gateway:
        pending = [gateway.start("POST", "/", signed(), body="{}") for _ in range(20)]
        assert sorted(one.result().status for one in pending) == [200] + [409] * 19


def test_a_full_table_forgets_nothing_that_still_counts() -> None:
    with running(verify={"memory": "64k"}) as gateway:
        statuses = [gateway.post("/", "{}", signed(id=f"msg_{number}")).status for number in range(1500)]
        assert gateway.post("/", "{}", signed(id="msg_0")).status in (409, 503)
    taken = statuses.count(200)
    assert statuses == [200] * taken + [503] * (1500 - taken) and 50 < taken < 1500


def test_bodies_are_bounded() -> None:
    with running(max_body_bytes=2) as gateway:
        assert gateway.post("/", "{} ", signed("{} ")).status == 413 and gateway.received == []
    with running(sign={"secrets": [OLD]}, max_body_bytes=2) as gateway:
        assert gateway.post("/", "{} ").status == 413


def test_what_clients_say_of_signatures_is_replaced_but_a_valid_id_stays() -> None:
    mine = {"Webhook-Signature": "v1,mine", "webhook_signature": "v1,mine", "Webhook-Timestamp": "1"}
    with running(sign={"secrets": [OLD]}) as gateway:
        for given in (ID, "a.b", "x" * 257, ""):
            gateway.post("/", "{}", {**mine, "webhook-id": given})
        first, *others = (one.headers for one in gateway.received)
    assert first["webhook-id"] == ID and first.get_all("webhook-timestamp") == [str(NOW)]
    assert (
        first.get_all("webhook-signature") == [signed()["webhook-signature"]]
        and "webhook_signature" not in first
    )
    assert all(one["webhook-id"].startswith("msg_") and len(one["webhook-id"]) == 36 for one in others)
    assert len({one["webhook-id"] for one in others}) == 3


def test_a_field_with_underscores_does_not_reach_the_server_beside_the_checked_one() -> None:
    with running() as gateway:
        assert gateway.post("/", "{}", {**signed(), "Webhook_Id": "msg_evil"}).status == 200
        assert "webhook_id" not in gateway.received[0].headers


def test_other_names_of_the_fields() -> None:
    with running(prefix="svix") as gateway:
        assert gateway.post("/", "{}", signed(prefix="svix")).status == 200
        assert gateway.post("/", "{}", signed(id="b")).status == 403


def test_what_other_plugins_change_is_signed() -> None:
    gate, plugin = Gateway(), Webhooks(sign={"secrets": [OLD]})
    gate.route("/", to=SERVER)
    gate.use(plugin)

    @gate.request
    def change(request: Request) -> Response | None:
        request.set_body("changed")
        return None

    plugin._clock = lambda: NOW
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        gateway.post("/", "{}", {"webhook-id": ID})
        (received,) = gateway.received
    assert received.body == b"changed"
    assert received.headers["webhook-signature"] == signed("changed")["webhook-signature"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either checks or signs"),
        ({"verify": {"secrets": [OLD]}, "sign": {"secrets": [OLD]}}, "either checks or signs"),
        ({"verify": {"secrets": []}}, "secrets"),
        ({"verify": {"secrets": ["whsec_short"]}}, "base64"),
        ({"verify": {"secrets": ["whsec_c2hvcnQ="]}}, "24 to 64 bytes"),
        ({"verify": {"secrets": ["not base64!"]}}, "base64"),
        ({"sign": {"secrets": [OLD]}, "prefix": "a b"}, "prefix"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Webhooks(**settings)
