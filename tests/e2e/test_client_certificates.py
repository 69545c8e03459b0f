"""Client certificates: what the handshake asks, what routes want, what servers are told."""

import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Origin, RawResponse, RunningGateway, Serve, TlsClient
from e2e.kit.pki import Authority, Leaf

GATE = """
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN, tls={"certificates": SERVER, "client_certificates": {"mode": MODE, "ca": CA, "crl": CRL}})
gate.forwarding(client_certificate={
    "x-client-verdict": "verdict", "x-client-subject": "subject", "x-client-issuer": "issuer",
    "x-client-names": "names", "x-client-fingerprint": "fingerprint", "x-client-serial": "serial",
    "x-client-pem": "pem",
})
gate.route("/open", respond="open", client_certificate="any")
gate.route("/closed", respond="closed", client_certificate="required")
gate.route("/fixed", respond="fixed")
@gate.route("/seen", client_certificate="any")
def seen(request):
    shown, tls = request.client_certificate, request.tls
    return Response.json({
        "tls": [tls.version, tls.server_name, tls.is_resumed],
        "certificate": shown and [shown.is_valid, shown.verdict, shown.subject, shown.names, shown.pem[:10]],
    })

gate.route("/told/*", to=ORIGIN, client_certificate="any")
"""


@pytest.fixture(scope="module")
def shown(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Leaf | None]:
    """What clients show, by the verdict on it."""
    other = Authority(tmp_path_factory.mktemp("other"), "Other CA")
    return {
        "none": None,
        "valid": authority.issue("alice.test", subject="alice", for_client=True),
        "expired": authority.issue("old.test", subject="old", for_client=True, days=(-9, -1)),
        "not_yet_valid": authority.issue("young.test", subject="young", for_client=True, days=(1, 9)),
        "revoked": authority.issue("gone.test", subject="gone", for_client=True),
        "unknown_issuer": other.issue("mallory.test", subject="mallory", for_client=True),
        "unfit": authority.issue("server.test", subject="server"),
    }


def gate(
    serve: Serve, origin: Origin, authority: Authority, shown: dict[str, Leaf | None], mode: str
) -> RunningGateway:
    revoked = shown["revoked"]
    assert revoked is not None
    names = {
        "MODE": mode,
        "SERVER": authority.issue("gate.test").files,
        "CA": authority.ca,
        "CRL": authority.revoke(revoked),
        "ORIGIN": origin.address,
    }
    return serve(GATE, names=names)


@pytest.fixture(scope="module")
def by_route(
    serve_module: Serve, origin: Origin, authority: Authority, shown: dict[str, Leaf | None]
) -> RunningGateway:
    return gate(serve_module, origin, authority, shown, "routes")


def ask(
    gateway: RunningGateway, authority: Authority, leaf: Leaf | None, path: str, fields: Any = ()
) -> RawResponse:
    with TlsClient(gateway.address, authority.client(leaf)) as client:
        return client.get(path, fields)


BAD = ["none", "expired", "not_yet_valid", "revoked", "unknown_issuer", "unfit"]


@pytest.mark.parametrize("verdict", BAD)
def test_missing_or_bad_certificate_is_a_400_but_on_open_routes(
    by_route: RunningGateway, authority: Authority, shown: dict[str, Leaf | None], verdict: str
) -> None:
    for path in ("/fixed", "/closed", "/nowhere"):
        assert ask(by_route, authority, shown[verdict], path).status == 400
    assert ask(by_route, authority, shown[verdict], "/open").text == "open"
    fields = dict(ask(by_route, authority, shown[verdict], "/told/x").json()["fields"])
    assert fields["x-client-verdict"] == verdict


def test_valid_certificate_passes_everywhere(
    by_route: RunningGateway, authority: Authority, shown: dict[str, Leaf | None]
) -> None:
    statuses = {
        path: ask(by_route, authority, shown["valid"], path).status
        for path in ("/fixed", "/closed", "/open", "/nowhere")
    }
    assert statuses == {"/fixed": 200, "/closed": 200, "/open": 200, "/nowhere": 404}


def test_servers_are_told_of_the_certificate(
    by_route: RunningGateway, authority: Authority, shown: dict[str, Leaf | None]
) -> None:
    from urllib.parse import unquote

    leaf = shown["valid"]
    assert leaf is not None
    fields = dict(ask(by_route, authority, leaf, "/told/x").json()["fields"])
    assert fields["x-client-verdict"] == "valid"
    assert fields["x-client-subject"] == "CN=alice,O=Example"
    assert fields["x-client-issuer"] == "CN=Test CA"
    assert fields["x-client-names"] == "DNS:alice.test"
    assert fields["x-client-fingerprint"] == leaf.fingerprint
    assert int(fields["x-client-serial"], 16) == leaf.certificate.serial_number
    assert unquote(fields["x-client-pem"]).split() == Path(leaf.chain).read_text().split()


def test_what_clients_claim_themselves_is_taken_out(by_route: RunningGateway, authority: Authority) -> None:
    spoofed = [
        ("X-Client-Verdict", "valid"),
        ("x_client_subject", "CN=alice"),
        ("X-Client-Subject", "CN=alice"),
    ]
    got = ask(by_route, authority, None, "/told/x", spoofed).json()["fields"]
    assert [(name, value) for name, value in got if "client" in name.lower()] == [
        ("x-client-verdict", "none")
    ]


def test_resumed_session_keeps_its_certificate(
    by_route: RunningGateway, authority: Authority, shown: dict[str, Leaf | None]
) -> None:
    context = authority.client(shown["valid"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with TlsClient(by_route.address, context) as first:
        assert first.get("/fixed").status == 200
        session = first.socket.session
    with TlsClient(by_route.address, context, session=session) as again:
        assert again.socket.session_reused and again.get("/fixed").status == 200


def test_certificate_without_extensions_gets_a_verdict_too(
    by_route: RunningGateway, authority: Authority, tmp_path: Path
) -> None:
    """Version 1 of X.509, as `openssl x509 -req` still writes them."""
    make = f"""openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=v1 -keyout k.pem -out r.pem
        openssl x509 -req -in r.pem -signkey k.pem -out {tmp_path}/c.pem"""
    subprocess.run(["sh", "-ec", make], cwd=tmp_path, check=True, capture_output=True)
    context = authority.client()
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    with TlsClient(by_route.address, context) as client:
        fields = dict(client.get("/told/x").json()["fields"])
        assert client.get("/fixed").status == 400
    assert fields["x-client-verdict"] != "valid" and fields["x-client-subject"] == "CN=v1"


def test_optional_asks_and_leaves_it_to_routes(
    serve: Serve, origin: Origin, authority: Authority, shown: dict[str, Leaf | None]
) -> None:
    gateway = gate(serve, origin, authority, shown, "optional")
    for verdict in ("none", "unknown_issuer"):
        assert ask(gateway, authority, shown[verdict], "/fixed").status == 200
        assert ask(gateway, authority, shown[verdict], "/closed").status == 400
    assert ask(gateway, authority, shown["valid"], "/closed").status == 200


def test_required_lets_nobody_in_without_a_valid_one(
    serve: Serve, origin: Origin, authority: Authority, shown: dict[str, Leaf | None]
) -> None:
    gateway = gate(serve, origin, authority, shown, "required")
    for verdict in BAD:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(gateway, authority, shown[verdict], "/open")
    assert ask(gateway, authority, shown["valid"], "/fixed").status == 200


def test_route_that_wants_one_where_nobody_asks_is_refused(serve: Serve, origin: Origin) -> None:
    gateway = serve({"routes": [{"respond": "x", "client_certificate": "required"}]}, is_ready=False)
    assert gateway.process.wait(20) == 2
    assert "no listener asks for one" in gateway.log()


def test_hooks_see_the_certificate_and_the_session(
    by_route: RunningGateway, authority: Authority, shown: dict[str, Leaf | None]
) -> None:
    seen = ask(by_route, authority, shown["valid"], "/seen").json()
    assert seen["tls"] == ["TLSv1.3", "gate.test", False]
    assert seen["certificate"] == [True, "valid", "CN=alice,O=Example", ["DNS:alice.test"], "-----BEGIN"]
    assert ask(by_route, authority, None, "/seen").json()["certificate"] is None
    assert ask(by_route, authority, shown["revoked"], "/seen").json()["certificate"][:2] == [False, "revoked"]
