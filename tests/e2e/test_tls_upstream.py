"""TLS to servers: who is trusted, under which name, and what a failed handshake tells."""

import contextlib
import datetime
import hashlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.behaviours import digest, until_close
from e2e.kit.pki import Authority

GATE = """
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)
gate.access_log("json")
gate.timeouts(tls_handshake="1s")
for name, (address, tls) in UPSTREAMS.items():
    app = gate.upstream(name, f"https://{address}", retries=0, host="server", tls=tls)
    gate.route(f"/{name}", to=app)
    gate.route(f"/{name}/*", to=app)

@gate.error
def tell(request, error):
    return Response(error.status, f"{error.kind}: {error.message}")
"""


@pytest.fixture(scope="module")
def origins(authority: Authority) -> Iterator[dict[str, Origin]]:
    """Servers, by what is special about their TLS."""
    asks = authority.server(authority.issue("127.0.0.1"), wants_certificate=True)
    old = authority.server(authority.issue("127.0.0.1"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    named = authority.server(authority.issue("app.test"))
    contexts = {
        "good": authority.server(authority.issue("127.0.0.1")),
        "again": authority.server(authority.issue("127.0.0.1")),
        "named": named,
        "expired": authority.server(authority.issue("127.0.0.1", days=(-9, -1))),
        "asks": asks,
        "old": old,
        "silent": None,
    }
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Origin(tls=context)) for name, context in contexts.items()}


@pytest.fixture(scope="module")
def pinned(authority: Authority) -> Iterator[tuple[Origin, Any]]:
    leaf = authority.issue("127.0.0.1")
    with Origin(tls=authority.server(leaf)) as origin:
        yield origin, leaf


@pytest.fixture(scope="module")
def talker() -> Iterator[str]:
    """The address of a server that speaks first, and no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.sendall(b"220 mail.test ESMTP\r\n")
                    connection.recv(4096)
                    connection.close()

        threading.Thread(target=talk, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def gateway(
    serve_module: Serve,
    origins: dict[str, Origin],
    pinned: tuple[Origin, Any],
    talker: str,
    authority: Authority,
) -> RunningGateway:
    own = authority.issue("gateway.test", for_client=True).files
    trusted = {"ca": authority.ca}
    server, leaf = pinned
    stranger = authority.issue("127.0.0.1")
    at = {name: origin.address for name, origin in origins.items()}
    upstreams = {
        "trusted": (at["good"], trusted),
        "again": (at["again"], trusted),
        "unknown": (at["good"], None),
        "unverified": (at["good"], {"verify": False}),
        "other-name": (at["named"], trusted),
        "named": (at["named"], {**trusted, "server_name": "app.test"}),
        "expired": (at["expired"], trusted),
        "certified": (at["asks"], {**trusted, "certificate": own}),
        "nobody": (at["asks"], trusted),
        "old": (at["old"], trusted),
        "too-old": (at["old"], {**trusted, "policy": "modern"}),
        "silent": (at["silent"], trusted),
        "talker": (talker, trusted),
        "pinned": (server.address, {"verify": False, "pins": leaf.fingerprint}),
        "pinned-key": (server.address, {"verify": False, "pins": f"sha256:{leaf.key_fingerprint}"}),
        "pinned-other": (server.address, {**trusted, "pins": stranger.fingerprint}),
    }
    return serve_module(GATE, names={"UPSTREAMS": upstreams})


def test_server_of_a_trusted_authority_is_spoken_to(
    gateway: RunningGateway, origins: dict[str, Origin]
) -> None:
    origins["good"].on("/trusted/digest", digest)
    response = gateway.get("/trusted")
    assert response.status == 200 and response.json()["target"] == "/trusted"
    assert dict(response.json()["fields"])["Host"] == origins["good"].address
    body = bytes(range(256)) * 8_000
    assert gateway.post("/trusted/digest", body).text == hashlib.sha256(body).hexdigest()


def test_connections_are_kept_and_sessions_taken_up_again(
    gateway: RunningGateway, origins: dict[str, Origin]
) -> None:
    origin = origins["again"]
    reused: list[bool | None] = []

    def resumed(call: Any) -> None:
        reused.append(call.socket.session_reused)
        call.respond(b"ok")

    origin.on("/again", resumed)
    assert [gateway.get("/again").status for _ in range(3)] == [200] * 3
    assert origin.connection_count == 1
    origin.drop_connections()
    assert gateway.get("/again").status == 200
    assert reused == [False, False, False, True]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/unknown", "its certificate is from no authority that is trusted"),
        ("/other-name", "its certificate is not for `127.0.0.1` but for app.test"),
        ("/expired", "expired"),
        ("/nobody", "it wants a certificate"),
        ("/too-old", "it speaks no version of TLS that is allowed"),
        ("/talker", "it does not speak TLS"),
        ("/pinned-other", "none of the pinned fingerprints"),
    ],
)
def test_failed_handshake_is_a_502_that_says_why(gateway: RunningGateway, path: str, words: str) -> None:
    response = gateway.get(path)
    assert response.status == 502 and response.text.startswith("upstream_tls: ")
    assert words in response.text
    assert gateway.access_record(target=path)["error"] == "upstream_tls"


@pytest.mark.parametrize("path", ["/unverified", "/named", "/old", "/pinned", "/pinned-key"])
def test_what_is_configured_to_be_fine_is_fine(gateway: RunningGateway, path: str) -> None:
    assert gateway.get(path).status == 200


@pytest.mark.parametrize("is_authority", [True, False])
def test_self_signed_certificate_given_as_its_own_authority_is_trusted(
    serve: Serve, tmp_path: Path, is_authority: bool
) -> None:
    good = self_signed(tmp_path, "good", "127.0.0.1", is_authority=is_authority)
    named = self_signed(tmp_path, "named", "app.test", is_authority=is_authority)
    old = self_signed(tmp_path, "old", "127.0.0.1", is_authority=is_authority, days=(-9, -1))
    with Origin(tls=good) as one, Origin(tls=named) as other, Origin(tls=old) as expired:
        upstreams = {
            "good": (one.address, {"ca": str(tmp_path / "good.pem")}),
            "other-name": (other.address, {"ca": str(tmp_path / "named.pem")}),
            "other-certificate": (one.address, {"ca": str(tmp_path / "named.pem")}),
            "expired": (expired.address, {"ca": str(tmp_path / "old.pem")}),
        }
        gateway = serve(GATE, names={"UPSTREAMS": upstreams})
        assert gateway.get("/good").status == 200
        assert "is not for `127.0.0.1` but for app.test" in gateway.get("/other-name").text
        assert "has expired" in gateway.get("/expired").text
        refused = gateway.get("/other-certificate")
        why = "its certificate is self-signed or" if is_authority else "its certificate is from no authority"
        assert refused.status == 502 and why in refused.text and "(" not in refused.text


def self_signed(
    folder: Path, file: str, name: str, *, is_authority: bool, days: tuple[int, int] = (-1, 9)
) -> ssl.SSLContext:
    """The context of a server with such a certificate, which is written to FILE.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    alternative = x509.DNSName(name) if name[-1].isalpha() else x509.IPAddress(ipaddress.ip_address(name))
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / f"{file}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / f"{file}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{file}.pem", folder / f"{file}.key")
    return context


def test_gateway_shows_its_certificate_to_servers_that_ask(
    gateway: RunningGateway, origins: dict[str, Origin]
) -> None:
    shown: list[Any] = []

    def look(call: Any) -> None:
        shown.append(call.socket.getpeercert())
        call.respond(b"ok")

    origins["asks"].on("/certified", look)
    assert gateway.get("/certified").status == 200
    assert dict(pair[0] for pair in shown[0]["subject"])["commonName"] == "gateway.test"


def test_handshake_that_never_ends_is_given_up(gateway: RunningGateway) -> None:
    response = gateway.get("/silent")
    assert response.status == 504 and response.text.startswith("upstream_tls_timeout")
    assert gateway.access_record(target="/silent")["limit"] == "timeouts.tls_handshake"


def test_response_cut_without_close_notify_is_not_taken_for_the_whole(
    gateway: RunningGateway, origins: dict[str, Origin]
) -> None:
    origins["good"].on("/trusted/cut", until_close(b"half of it"))
    with gateway.client() as client:
        client.send(b"GET /trusted/cut HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        assert not client.read_to_end().endswith(b"0\r\n\r\n")


def test_next_server_is_tried_when_a_handshake_fails(
    serve: Serve, origins: dict[str, Origin], talker: str, authority: Authority
) -> None:
    servers = [f"https://{talker}", f"https://{origins['good'].address}"]
    app = {"servers": servers, "tls": {"ca": authority.ca}}
    gateway = serve({"upstreams": {"app": app}, "routes": [{"to": "app"}]})
    assert [gateway.post("/").status for _ in range(4)] == [200] * 4


def test_new_authority_is_in_force_after_a_reload(
    serve: Serve, origins: dict[str, Origin], authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other", "Other CA")
    ca = tmp_path / "ca.pem"
    ca.write_text(Path(other.ca).read_text())
    app = {"servers": f"https://{origins['good'].address}", "tls": {"ca": str(ca)}}
    gateway = serve({"upstreams": {"app": app}, "routes": [{"to": "app"}]})
    assert gateway.get("/").status == 502
    ca.write_text(Path(authority.ca).read_text())
    assert gateway.ask("reload")["ok"]
    eventually(lambda: gateway.get("/").status == 200, "the new authority is trusted")


FETCHING = """
import headgate
from headgate import Gateway, Response
gate = Gateway()
gate.listen(LISTEN)

@gate.route("/")
async def ask(request):
    try:
        response = await headgate.fetch(URL)
    except headgate.FetchError as error:
        return Response(502, str(error))
    return Response(200, await response.text())
"""


def test_fetch_of_https_verifies_with_the_systems_authorities(
    serve: Serve, origins: dict[str, Origin], authority: Authority
) -> None:
    names = {"URL": f"https://{origins['good'].address}/fetched"}
    trusting = serve(FETCHING, names=names, environment={"SSL_CERT_FILE": authority.ca})
    response = trusting.get("/")
    assert response.status == 200 and response.json()["target"] == "/fetched"
    response = serve(FETCHING, names=names).get("/")
    assert response.status == 502 and "from no authority that is trusted" in response.text


def test_fetch_of_https_is_refused_for_another_name(
    serve: Serve, origins: dict[str, Origin], authority: Authority
) -> None:
    port = origins["named"].address.rpartition(":")[2]
    names = {"URL": f"https://127.0.0.1:{port}/"}  # whose certificate is for another name
    response = serve(FETCHING, names=names, environment={"SSL_CERT_FILE": authority.ca}).get("/")
    assert response.status == 502 and "is not for `127.0.0.1`" in response.text
