"""What the access log tells of TLS."""

import re
import ssl
from typing import Any

import pytest
from e2e.kit import RunningGateway, Serve, TlsClient, eventually, free_port
from e2e.kit.pki import Authority, Leaf

GATE = """
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={"certificates": SERVER, "client_certificates": {"mode": "routes", "ca": CA}})
gate.listen(PLAIN)
gate.access_log(FORMAT, flush="50ms")
gate.route("/", respond="fixed")
gate.route("/open", respond="open", client_certificate="any")
"""


@pytest.fixture(scope="module")
def names(authority: Authority) -> dict[str, Any]:
    return {
        "SERVER": authority.issue("gate.test").files,
        "CA": authority.ca,
        "PLAIN": f"127.0.0.1:{free_port()}",
        "FORMAT": "json",
    }


@pytest.fixture(scope="module")
def alice(authority: Authority) -> Leaf:
    return authority.issue("alice.test", subject="alice", for_client=True)


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, names: dict[str, Any]) -> RunningGateway:
    return serve_module(GATE, names=names)


def test_session_and_certificate_are_in_the_record(
    gateway: RunningGateway, authority: Authority, alice: Leaf
) -> None:
    context = authority.client(alice)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    with TlsClient(gateway.address, context) as client:
        assert client.get("/first").status == 200
        session = client.socket.session
    told = gateway.access_record(target="/first")["tls"]
    assert told.pop("cipher").startswith("TLS_ECDHE_ECDSA_WITH_")
    assert told == {
        "version": "TLSv1.2",
        "server_name": "gate.test",
        "alpn": "http/1.1",
        "resumed": False,
        "client_certificate": "valid",
        "client_subject": "CN=alice,O=Example",
    }
    with TlsClient(gateway.address, context, session=session) as client:
        client.get("/again")
    told = gateway.access_record(target="/again")["tls"]
    assert told["resumed"] and told["client_certificate"] == "valid"


def test_verdict_is_told_where_there_is_no_certificate(gateway: RunningGateway, authority: Authority) -> None:
    with TlsClient(gateway.address, authority.client()) as client:
        client.get("/without")
        client.send(b"GET / HTTP/1.1\r\nbad\r\n\r\n")
        assert client.head().status == 400
    told = gateway.access_record(target="/without", status=400)["tls"]
    assert (told["version"], told["client_certificate"], told["client_subject"]) == ("TLSv1.3", "none", "")
    unread = gateway.access_record(method="", status=400)
    assert unread["tls"]["version"] == "TLSv1.3", "also of what is no request"


def test_plain_connection_has_none(gateway: RunningGateway, names: dict[str, Any]) -> None:
    from e2e.kit.client import fetch

    fetch(names["PLAIN"], "/open?plain")
    assert gateway.access_record(target="/open?plain")["tls"] is None


def test_own_format_names_the_fields(
    serve: Serve, names: dict[str, Any], authority: Authority, alice: Leaf
) -> None:
    form = "<{target} {tls_version} {tls_cipher} {tls_server_name} {tls_alpn} {tls_resumed}"
    form += " {client_certificate} {client_subject}>"
    own = serve(GATE, names={**names, "FORMAT": form, "PLAIN": f"127.0.0.1:{free_port()}"})
    with TlsClient(own.address, authority.client(alice)) as client:
        client.get("/own")
    line = r"</own TLSv1\.3 TLS13_\w+ gate\.test - new valid CN=alice,O=Example>"
    eventually(lambda: re.search(line, own.output()), lambda: own.output())
