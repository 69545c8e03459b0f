"""`client_hello` hooks where TLS ends: which certificate, what is asked of the client, and what goes wrong."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, TlsClient, eventually, free_port
from e2e.kit.pki import Authority, Leaf

GATE = """
import asyncio, json, logging
from pathlib import Path
import headgate
from headgate import Certificate, Gateway

gate = Gateway()
gate.listen(
    LISTEN,
    tls={"certificates": CONFIGURED, "client_certificates": {"ca": CA}, "host_mismatch": "same_certificate"},
)
bare = gate.listen(BARE, tls={})
gate.listen(OPEN, tls=CONFIGURED[0], name="open")
gate.access_log("json")
chain, key = (Path(file).read_text() for file in GIVEN)
prepared = Certificate(chain.encode(), key)

@gate.client_hello
async def choose(connection):
    what = (connection.server_name or "").partition(".")[0]
    if what == "pem":
        return chain, key.encode()
    if what == "text":
        return chain + key
    if what == "prepared":
        return prepared
    if what == "named":
        return "OTHER.test"
    if what == "fetched":
        response = await headgate.fetch(ORIGIN + "/certificates/" + connection.server_name)
        return tuple(await response.json())
    if what == "asked":
        connection.client_certificates = "required"
        assert connection.client_certificates == "required"
        return prepared
    if what == "carried":
        connection.upstream = BEHIND
    if what == "refused":
        connection.refuse("not here")
    if what == "nowhere":
        return "nowhere.test"
    if what == "number":
        return 7
    if what == "broken":
        return chain, chain
    if what == "distrusting":
        connection.client_certificates = "optional"
        return prepared
    if what == "waits":
        logging.warning("the hook waits")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            logging.warning("the hook was cancelled")
            raise
    if what == "seen":
        told = {
            "alpn": connection.alpn, "versions": connection.tls_versions, "ciphers": connection.ciphers,
            "address": connection.address, "asked": connection.client_certificates,
        }
        logging.warning("hello %s", json.dumps(told))
        return prepared

@gate.client_hello
def last(connection):
    if connection.server_name == "raises.given.test":
        1 / 0
    assert connection.server_name != "text.given.test", "the phase ended with a certificate"

@bare.client_hello(on_error="open")
def raises_open(connection):
    if connection.server_name == "open.given.test":
        raise ValueError("never mind")
    return prepared

@gate.route("/who")
def who(request):
    shown = request.client_certificate
    return headgate.Response(200, shown.subject if shown else "nobody")

gate.route("/", respond="fixed")
"""


@pytest.fixture(scope="module")
def given(authority: Authority) -> Leaf:
    return authority.issue("*.given.test")


@pytest.fixture(scope="module")
def other(authority: Authority) -> Leaf:
    return authority.issue("other.test", "named.given.test")


@pytest.fixture(scope="module")
def behind(authority: Authority) -> Iterator[Origin]:
    """A server that ends TLS itself."""
    with Origin(tls=authority.server(authority.issue("carried.given.test"))) as origin:
        yield origin


@pytest.fixture(scope="module")
def names(origin: Origin, behind: Origin, authority: Authority, given: Leaf, other: Leaf) -> dict[str, Any]:
    return {
        "CONFIGURED": [authority.issue("gate.test").files, other.files],
        "GIVEN": [given.chain, given.key],
        "CA": authority.ca,
        "ORIGIN": f"http://{origin.address}",
        "BEHIND": behind.address,
        "BARE": f"127.0.0.1:{free_port()}",
        "OPEN": f"127.0.0.1:{free_port()}",
    }


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, names: dict[str, Any]) -> RunningGateway:
    return serve_module(GATE, names=names)


def der(leaf: Leaf) -> bytes:
    return ssl.PEM_cert_to_DER_cert(Path(leaf.chain).read_text())


def client(gateway: RunningGateway, authority: Authority, name: str, **options: Any) -> TlsClient:
    context = options.pop("context", None) or authority.client()
    return TlsClient(options.pop("address", gateway.address), context, name, **options)


def refusal(gateway: RunningGateway, authority: Authority, name: str, **options: Any) -> str:
    with pytest.raises((ssl.SSLError, ConnectionError)) as caught:
        client(gateway, authority, name, **options).close()
    return str(caught.value).replace("_", " ").lower()


@pytest.mark.parametrize("how", ["pem", "text", "prepared"])
def test_client_gets_the_certificate_that_a_hook_returns(
    gateway: RunningGateway, authority: Authority, given: Leaf, how: str
) -> None:
    for _ in range(2):
        with client(gateway, authority, f"{how}.given.test") as connection:
            assert connection.certificate == der(given)
            assert connection.get("/", host=f"{how}.given.test").text == "fixed"


def test_hook_names_a_configured_certificate(
    gateway: RunningGateway, authority: Authority, other: Leaf
) -> None:
    with client(gateway, authority, "named.given.test") as connection:
        assert connection.certificate == der(other)


def test_without_a_word_of_the_hook_it_is_as_configured(
    gateway: RunningGateway, authority: Authority
) -> None:
    with client(gateway, authority, "gate.test") as connection:
        assert connection.get("/").text == "fixed"


def test_hook_fetches_a_certificate(
    gateway: RunningGateway, origin: Origin, authority: Authority, given: Leaf
) -> None:
    pair = [Path(given.chain).read_text(), Path(given.key).read_text()]
    origin.on("/certificates/fetched.given.test", lambda call: call.respond(json.dumps(pair).encode()))
    with client(gateway, authority, "fetched.given.test") as connection:
        assert connection.certificate == der(given)
        assert connection.get("/", host="fetched.given.test").text == "fixed"


def test_hook_sees_what_the_client_offers(gateway: RunningGateway, authority: Authority) -> None:
    context = authority.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with client(gateway, authority, "seen.given.test", context=context):
        pass
    told = json.loads(gateway.wait_for_log(r"hello ({.*?})(?:$|\"|\s\s)")[1].replace('\\"', '"'))
    assert told["alpn"] == ["h2", "http/1.1"]
    assert "TLSv1.3" in told["versions"] and "TLS13_AES_256_GCM_SHA384" in told["ciphers"]
    assert (told["address"], told["asked"]) == ("127.0.0.1", "none")


def test_hook_has_this_client_asked_for_a_certificate(gateway: RunningGateway, authority: Authority) -> None:
    shows = authority.client(authority.issue("alice.test", for_client=True))
    with client(gateway, authority, "asked.given.test", context=shows) as connection:
        assert "alice.test" in connection.get("/who", host="asked.given.test").text
    with client(gateway, authority, "pem.given.test", context=shows) as connection:
        assert connection.get("/who", host="pem.given.test").text == "nobody"
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # which tells the client within the handshake
    refusal(gateway, authority, "asked.given.test", context=context)


def test_hook_sends_a_connection_on_undecrypted(
    gateway: RunningGateway, authority: Authority, behind: Origin
) -> None:
    with client(gateway, authority, "carried.given.test") as connection:
        assert connection.get("/x", host="carried.given.test").json()["origin"] == behind.address


@pytest.mark.parametrize(
    ("name", "alert", "words"),
    [
        ("refused", "access denied", None),
        ("raises", "internal error", "ZeroDivisionError"),
        ("nowhere", "internal error", "there is no certificate for `nowhere.test`"),
        ("number", "internal error", "returned a `int`; hint: a `Certificate`, PEM"),
        ("broken", "internal error", "the key holds no private key"),
    ],
)
def test_refusals_and_failures_end_the_handshake_with_an_alert(
    gateway: RunningGateway, authority: Authority, name: str, alert: str, words: str | None
) -> None:
    with client(gateway, authority, "pem.given.test") as meanwhile:
        assert alert in refusal(gateway, authority, f"{name}.given.test")
        assert meanwhile.get("/", host="pem.given.test").text == "fixed"
    error = "hook_failed" if words else "refused_by_hook"
    assert gateway.access_record(error=error, host=f"{name}.given.test")
    if not words:
        gateway.wait_for_log("refused by a hook: not here")
    if words:
        eventually(lambda: words in gateway.log(), f"{words} in {gateway.log()}")
        raised = [line for line in gateway.log().splitlines() if " raised: " in line and words in line]
        assert len(raised) == 1, "logged once"


def test_hook_that_asks_for_certificates_nobody_judges_is_told(
    gateway: RunningGateway, authority: Authority, names: dict[str, Any]
) -> None:
    assert "internal error" in refusal(gateway, authority, "distrusting.given.test", address=names["OPEN"])
    gateway.wait_for_log("the listener trusts no authority")


def test_listener_needs_no_certificate_of_its_own(
    gateway: RunningGateway, authority: Authority, given: Leaf, names: dict[str, Any]
) -> None:
    with client(gateway, authority, "any.given.test", address=names["BARE"]) as connection:
        assert connection.certificate == der(given)
    # the hook failed open, and there is nothing else to show
    refusal(gateway, authority, "open.given.test", address=names["BARE"])


def test_certificate_of_a_hook_is_for_its_other_names_too(
    gateway: RunningGateway, authority: Authority
) -> None:
    with client(gateway, authority, "pem.given.test") as connection:
        assert connection.get("/", host="sibling.given.test").status == 200
        assert connection.get("/", host="a.b.given.test").status == 421
        assert connection.get("/", host="gate.test").status == 421
    with client(gateway, authority, "named.given.test") as connection:
        assert connection.get("/", host="other.test").status == 200
        assert connection.get("/", host="pem.given.test").status == 421


def test_sessions_are_resumed_and_hooks_asked_all_the_same(
    gateway: RunningGateway, authority: Authority
) -> None:
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with client(gateway, authority, "pem.given.test", context=context) as first:
        session = first.socket.session
    with client(gateway, authority, "pem.given.test", context=context, session=session) as again:
        assert again.socket.session_reused and again.get("/", host="pem.given.test").status == 200
    assert "access denied" in refusal(
        gateway, authority, "refused.given.test", context=context, session=session
    )


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_of_an_open_name_opens_no_name_that_demands_a_certificate(
    gateway: RunningGateway, authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.client()
    context.minimum_version = context.maximum_version = version
    with client(gateway, authority, "pem.given.test", context=context) as first:
        assert first.get("/", host="pem.given.test").status == 200
        session = first.socket.session
    with pytest.raises((ssl.SSLError, ConnectionError)):
        # the client of TLS 1.3 has finished before it is told
        with client(gateway, authority, "asked.given.test", context=context, session=session) as again:
            again.get("/", host="asked.given.test")


def test_client_that_leaves_cancels_the_hook(gateway: RunningGateway, authority: Authority) -> None:
    context = authority.client()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="waits.given.test")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    with gateway.client() as connection:
        connection.send(outgoing.read())
        gateway.wait_for_log("the hook waits")
    gateway.wait_for_log("the hook was cancelled")
    assert gateway.access_record(error="client_disconnected")


def test_hook_waits_no_longer_than_a_handshake_may(
    serve: Serve, names: dict[str, Any], authority: Authority
) -> None:
    addresses = {name: f"127.0.0.1:{free_port()}" for name in ("BARE", "OPEN")}
    source = GATE + 'gate.timeouts(tls_handshake="500ms")\ngate.limits(max_tls_handshakes=1)\n'
    gateway = serve(source, names={**names, **addresses})
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = authority.client().wrap_bio(incoming, outgoing, server_hostname="waits.given.test")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    with gateway.client() as connection:
        connection.send(outgoing.read())
        gateway.wait_for_log("the hook waits")
        with gateway.client() as second:
            assert second.is_closed(), "the one that waits counts as a handshake"
        assert connection.read_to_end() == b"\x15\x03\x03\x00\x02\x02\x50", "an alert: internal error"
    gateway.wait_for_log("the hook was cancelled")
    assert gateway.access_record(limit="timeouts.tls_handshake")
    assert gateway.counter("timeout_tls_handshake") == 1
    assert gateway.counter("limit_tls_handshakes") == 1
    assert gateway.counter("tls_handshakes_failed") >= 1


def test_connection_that_is_carried_on_may_be_silent(
    serve: Serve, names: dict[str, Any], authority: Authority
) -> None:
    addresses = {name: f"127.0.0.1:{free_port()}" for name in ("BARE", "OPEN")}
    gateway = serve(GATE + 'gate.timeouts(tls_handshake="300ms")\n', names={**names, **addresses})
    with client(gateway, authority, "carried.given.test") as carried:
        assert carried.get("/first", host="carried.given.test").status == 200
        with gateway.client() as silent:
            assert silent.is_closed(), "all deadlines were looked at"
        assert carried.get("/second", host="carried.given.test").status == 200


def test_listener_without_certificate_and_hook_is_refused(serve: Serve) -> None:
    gateway = serve(
        "from headgate import Gateway\ngate = Gateway()\ngate.listen(LISTEN, tls={})\n", is_ready=False
    )
    assert gateway.process.wait(20) == 2
    assert "TLS without a certificate" in gateway.log() and "`client_hello` hook" in gateway.log()
