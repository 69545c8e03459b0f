"""TLS from clients: certificates by name and type, versions, protocols, and everything that is refused."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve, TlsClient, eventually
from e2e.kit.behaviours import digest
from e2e.kit.pki import Authority, Leaf


@pytest.fixture(scope="module")
def leaves(authority: Authority) -> dict[str, Leaf]:
    return {
        "gate": authority.issue("gate.test"),
        "rsa": authority.issue("gate.test", rsa_key=True),
        "wild": authority.issue("*.shop.test", "shop.test"),
        "exact": authority.issue("exact.shop.test"),
    }


@pytest.fixture(scope="module")
def gateway(
    serve_module: Serve, origin: Origin, authority: Authority, leaves: dict[str, Leaf]
) -> RunningGateway:
    return serve_module(gate(origin, certificates=[leaf.files for leaf in leaves.values()]))


def gate(origin: Origin, limits: dict[str, Any] | None = None, **tls: Any) -> str:
    return f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={tls!r})
gate.limits(**{limits or {}!r})
gate.access_log("json")
gate.route("/fixed", respond="fixed")
gate.route("/away", redirect="{{scheme}}://{{host}}/new")
gate.route("/", to={origin.address!r})
"""


def client(
    gateway: RunningGateway, context: ssl.SSLContext, name: str | None = "gate.test", **options: Any
) -> TlsClient:
    return TlsClient(gateway.address, context, name, **options)


def refusal(gateway: RunningGateway, context: ssl.SSLContext, name: str | None = "gate.test") -> str:
    with pytest.raises((ssl.SSLError, ConnectionError)) as caught:
        client(gateway, context, name).close()
    return str(caught.value)


def test_requests_of_one_connection_are_served_over_tls(
    gateway: RunningGateway, authority: Authority
) -> None:
    with client(gateway, authority.client()) as connection:
        assert connection.socket.version() == "TLSv1.3"
        assert [connection.get("/fixed").text for _ in range(3)] == ["fixed"] * 3


def test_servers_and_redirects_learn_that_it_was_https(gateway: RunningGateway, authority: Authority) -> None:
    with client(gateway, authority.client()) as connection:
        fields = dict(connection.get("/").json()["fields"])
        assert fields["X-Forwarded-Proto"] == "https"
        assert connection.get("/away").get("location") == "https://gate.test/new"


def test_large_bodies_pass_both_ways(gateway: RunningGateway, origin: Origin, authority: Authority) -> None:
    import hashlib

    body = bytes(range(256)) * 12_000
    origin.on("/digest", digest)
    origin.on("/echo", lambda call: call.respond(call.read_body()))
    with client(gateway, authority.client()) as connection:
        assert connection.request("POST", "/digest", body=body).text == hashlib.sha256(body).hexdigest()
        assert connection.request("POST", "/echo", body=body).body == body


def test_slow_reader_gets_all_of_a_large_body(
    gateway: RunningGateway, origin: Origin, authority: Authority
) -> None:
    body = bytes(range(256)) * 20_000
    origin.on("/large", lambda call: call.respond(body))
    context = authority.client()
    with socket.create_connection(("127.0.0.1", int(gateway.address.rpartition(":")[2]))) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        with context.wrap_socket(plain, server_hostname="gate.test") as secure:
            secure.sendall(b"GET /large HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n")
            received = b""
            while piece := secure.recv(2000):
                received += piece
    assert received.partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize(
    ("name", "leaf"),
    [("exact.shop.test", "exact"), ("other.shop.test", "wild"), ("shop.test", "wild"), ("gate.test", "gate")],
)
def test_certificate_is_that_of_the_name(
    gateway: RunningGateway, authority: Authority, leaves: dict[str, Leaf], name: str, leaf: str
) -> None:
    with client(gateway, authority.client(), name) as connection:
        assert ssl.PEM_cert_to_DER_cert(Path(leaves[leaf].chain).read_text()) == connection.certificate


def test_unknown_name_and_no_name_get_the_first_certificate(
    gateway: RunningGateway, authority: Authority, leaves: dict[str, Leaf]
) -> None:
    context = authority.client()
    context.check_hostname = False
    for name in ("a.b.shop.test", None):
        with client(gateway, context, name) as connection:
            assert ssl.PEM_cert_to_DER_cert(Path(leaves["gate"].chain).read_text()) == connection.certificate


@pytest.mark.parametrize(
    ("options", "kind"), [(["-sigalgs", "RSA-PSS+SHA256"], "rsa"), (["-sigalgs", "ECDSA+SHA256"], "ec")]
)
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_client_gets_the_type_of_key_it_can_verify(
    gateway: RunningGateway, authority: Authority, options: list[str], kind: str, version: str
) -> None:
    shown = openssl(gateway, authority, version, *options)
    assert "Verify return code: 0 (ok)" in shown
    assert {"rsa": "2048 bit", "ec": "256 bit"}[kind] in shown


def test_old_client_that_knows_only_rsa_suites_is_served(
    gateway: RunningGateway, authority: Authority
) -> None:
    shown = openssl(gateway, authority, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
    assert "Cipher is ECDHE-RSA-AES128-GCM-SHA256" in shown


def openssl(gateway: RunningGateway, authority: Authority, *options: str, name: str = "gate.test") -> str:
    command = [
        "openssl",
        "s_client",
        "-connect",
        gateway.address,
        "-servername",
        name,
        "-CAfile",
        authority.ca,
    ]
    done = subprocess.run([*command, *options], input=b"", capture_output=True, timeout=20, check=False)
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


def test_intermediate_policy_speaks_tls_1_2_and_nothing_older(
    gateway: RunningGateway, authority: Authority
) -> None:
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with client(gateway, context) as connection:
        assert connection.socket.version() == "TLSv1.2"
        assert connection.get("/fixed").text == "fixed"
    assert "no peer certificate available" in openssl(
        gateway, authority, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"
    )


def test_modern_policy_refuses_tls_1_2(
    serve: Serve, origin: Origin, authority: Authority, leaves: dict[str, Leaf]
) -> None:
    gateway = serve(gate(origin, certificates=leaves["gate"].files, policy="modern"))
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert "protocol version" in refusal(gateway, context)
    with client(gateway, authority.client()) as connection:
        assert connection.get("/fixed").status == 200


def test_client_that_speaks_other_protocols_only_is_refused(
    gateway: RunningGateway, authority: Authority
) -> None:
    context = authority.client()
    context.set_alpn_protocols(["http/1.1"])
    with client(gateway, context) as connection:
        assert connection.socket.selected_alpn_protocol() == "http/1.1"
    context.set_alpn_protocols(["imap"])
    assert "no application protocol" in refusal(gateway, context)


def test_mismatch_of_protocols_may_be_ignored(
    serve: Serve, origin: Origin, authority: Authority, leaves: dict[str, Leaf]
) -> None:
    gateway = serve(gate(origin, certificates=leaves["gate"].files, alpn_mismatch="ignore"))
    context = authority.client()
    context.set_alpn_protocols(["imap"])
    with client(gateway, context) as connection:
        assert connection.socket.selected_alpn_protocol() is None
        assert connection.get("/fixed").status == 200


def test_host_other_than_the_name_asked_for_is_misdirected(
    gateway: RunningGateway, authority: Authority
) -> None:
    with client(gateway, authority.client(), "a.shop.test") as connection:
        assert connection.get("/fixed", host="A.Shop.test:443").status == 200
        assert connection.get("/fixed", host="gate.test").status == 421
        assert connection.get("/fixed", host="other.test").status == 421
        for covered in ("b.shop.test", "shop.test", "exact.shop.test"):
            assert connection.get("/fixed", host=covered).status == 200
        assert connection.get("/fixed", host="a.shop.test").status == 200


@pytest.mark.parametrize(
    ("rule", "sibling", "stranger"),
    [("refuse", 421, 421), ("same_certificate", 200, 421), ("allow", 200, 200)],
)
def test_mismatch_of_hosts_may_be_allowed_or_refused(
    serve: Serve,
    origin: Origin,
    authority: Authority,
    leaves: dict[str, Leaf],
    rule: str,
    sibling: int,
    stranger: int,
) -> None:
    files = [leaves["wild"].files, leaves["gate"].files]
    gateway = serve(gate(origin, certificates=files, host_mismatch=rule))
    with client(gateway, authority.client(), "a.shop.test") as connection:
        assert connection.get("/fixed", host="b.shop.test").status == sibling
        assert connection.get("/fixed", host="gate.test").status == stranger


def test_host_of_the_default_certificate_is_served_to_who_got_it(
    gateway: RunningGateway, authority: Authority
) -> None:
    context = authority.client()
    context.check_hostname = False
    with client(gateway, context, "unknown.test") as connection:
        assert connection.get("/fixed", host="gate.test").status == 200
        assert connection.get("/fixed", host="unknown.test").status == 200
        assert connection.get("/fixed", host="a.shop.test").status == 421


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [
        ("ECDHE+AES128:ECDHE+AES256:ECDHE+CHACHA20", "AES256"),
        ("ECDHE+AES128:ECDHE+CHACHA20", "AES128"),
        ("ECDHE+CHACHA20:ECDHE+AES256", "CHACHA20"),
    ],
)
def test_gateway_chooses_the_cipher_unless_chacha_comes_first(
    gateway: RunningGateway, authority: Authority, offered: str, agreed: str
) -> None:
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(offered)
    with client(gateway, context) as connection:
        cipher = connection.socket.cipher()
        assert cipher is not None and agreed in cipher[0]


def test_unknown_name_may_be_refused(
    serve: Serve, origin: Origin, authority: Authority, leaves: dict[str, Leaf]
) -> None:
    gateway = serve(gate(origin, certificates=leaves["gate"].files, unknown_names="refuse"))
    assert refusal(gateway, authority.client(), "other.test")
    with client(gateway, authority.client()) as connection:
        assert connection.get("/fixed").status == 200


def test_plain_http_is_told_that_this_is_tls(gateway: RunningGateway) -> None:
    response = gateway.get("/fixed")
    assert response.status == 400 and "https://" in response.text


def test_client_hello_beyond_the_limit_is_refused(
    serve: Serve, origin: Origin, leaves: dict[str, Leaf]
) -> None:
    gateway = serve(gate(origin, {"max_client_hello_bytes": 1024}, certificates=leaves["gate"].files))
    # a handshake record that announces a ClientHello of 8000 bytes, and sends them
    hello = b"\x01" + (8000).to_bytes(3, "big") + bytes(8000)
    with gateway.client() as connection:
        connection.send(b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello)
        assert connection.is_closed()
    eventually(lambda: gateway.counter("limit_client_hello") == 1, "the limit is counted")
    assert gateway.access_record(limit="limits.max_client_hello_bytes")["error"] == "connection_refused"


def test_handshake_that_never_ends_is_cut(serve: Serve, origin: Origin, leaves: dict[str, Leaf]) -> None:
    source = gate(origin, certificates=leaves["gate"].files) + 'gate.timeouts(tls_handshake="300ms")\n'
    gateway = serve(source)
    with gateway.client() as silent, gateway.client() as half:
        half.send(b"\x16\x03\x01\x02\x00\x01")
        assert silent.is_closed() and half.is_closed()
    assert gateway.counter("timeout_tls_handshake") == 2
    assert gateway.access_record(limit="timeouts.tls_handshake")


def test_handshakes_beyond_the_limit_are_not_begun(
    serve: Serve, origin: Origin, authority: Authority, leaves: dict[str, Leaf]
) -> None:
    gateway = serve(gate(origin, {"max_tls_handshakes": 1}, certificates=leaves["gate"].files))
    with gateway.client() as waiting:
        waiting.send(b"\x16")
        eventually(lambda: gateway.ask()["workers"][0]["connections"] == 1, "the first is there")
        with gateway.client() as refused:
            assert refused.is_closed()
    assert gateway.counter("limit_tls_handshakes") == 1
    with client(gateway, authority.client()) as connection:
        assert connection.get("/fixed").status == 200


def test_garbage_is_refused_and_harms_nobody(gateway: RunningGateway, authority: Authority) -> None:
    for data in (
        b"\x16\x03\x01\x00\x05hello",
        b"\x16" * 600,
        b"\x00" * 600,
        b"\x80\x2e\x01\x03\x01" + bytes(41),
    ):
        with gateway.client() as connection:
            connection.send(data)
            connection.read_to_end()
    with client(gateway, authority.client()) as connection:
        assert connection.get("/fixed").status == 200


def test_response_that_was_cut_ends_without_close_notify(
    gateway: RunningGateway, origin: Origin, authority: Authority
) -> None:
    def cut(call: Any) -> None:
        call.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        call.reset()

    origin.on("/cut", cut)
    with client(gateway, authority.client()) as connection:
        connection.send(b"GET /cut HTTP/1.1\r\nHost: gate.test\r\n\r\n")
        with pytest.raises(ssl.SSLEOFError):
            while connection.socket.recv(1000):
                pass
    with client(gateway, authority.client()) as connection:
        connection.send(b"GET /fixed HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n")
        while connection.socket.recv(1000):
            pass


def test_changed_files_are_used_and_open_connections_stay(
    serve: Serve, origin: Origin, authority: Authority, tmp_path: Path
) -> None:
    first, second = authority.issue("gate.test"), authority.issue("gate.test")
    for name, source in (("c.pem", first.chain), ("k.pem", first.key)):
        shutil.copy(source, tmp_path / name)
    files = {"certificate": str(tmp_path / "c.pem"), "key": str(tmp_path / "k.pem")}
    gateway = serve(gate(origin, certificates=files))
    context = authority.client()

    def shown() -> bytes:
        with client(gateway, context) as connection:
            return connection.certificate

    with client(gateway, context) as kept:
        before = shown()
        # only one of two is written: they do not fit together
        shutil.copy(second.chain, tmp_path / "c.pem")
        eventually(lambda: shown() == before and "old ones stay" in gateway.log(), "the old ones stay")
        shutil.copy(second.key, tmp_path / "k.pem")
        eventually(lambda: shown() != before, "the new certificate is shown")
        assert kept.get("/fixed").text == "fixed"


def test_folder_gives_what_lies_in_it(
    serve: Serve, origin: Origin, authority: Authority, tmp_path: Path
) -> None:
    folder = tmp_path / "live"
    (folder / "b.test").mkdir(parents=True)
    first, second, third = (authority.issue(f"{name}.test") for name in "abc")
    (folder / "a.pem").write_text(Path(first.chain).read_text() + Path(first.key).read_text())
    shutil.copy(second.key, folder / "b.test" / "privkey.pem")
    shutil.copy(second.chain, folder / "b.test" / "fullchain.pem")
    gateway = serve(gate(origin, certificates=str(folder), unknown_names="refuse"))
    context = authority.client()

    def serves(name: str) -> bool:
        try:
            with client(gateway, context, name) as connection:
                return connection.get("/fixed", host=name).text == "fixed"
        except (ssl.SSLError, ConnectionError):
            return False

    assert [serves(f"{name}.test") for name in "abc"] == [True, True, False]
    with client(gateway, context, "b.test") as kept:
        (folder / "c.crt").write_text("half a certificate")
        eventually(lambda: serves("a.test") and "old ones stay" in gateway.log(), "it is looked at")
        shutil.copy(third.key, folder / "c.key")
        shutil.copy(third.chain, folder / "c.crt")
        eventually(lambda: serves("c.test"), "the new one is served", within=20)
        shutil.rmtree(folder / "b.test")
        eventually(lambda: not serves("b.test"), "the old one is served no more", within=20)
        assert kept.get("/fixed", host="b.test").text == "fixed", "open connections notice nothing"
    for file in folder.iterdir():
        file.unlink()
    eventually(lambda: serves("a.test") and "holds no certificate" in gateway.log(), "the last ones stay")


@pytest.mark.parametrize("more", ["key", "names", "ocsp"])
def test_folder_needs_no_more_words(
    serve: Serve, origin: Origin, authority: Authority, tmp_path: Path, more: str
) -> None:
    source = gate(origin, certificates={"certificate": str(tmp_path), more: "a.test"})
    gateway = serve(source, is_ready=False)
    assert gateway.process.wait(20) == 2
    assert "is a directory, whose certificates have their own" in gateway.log()


def test_reload_takes_new_certificates(serve: Serve, origin: Origin, authority: Authority) -> None:
    first, second = authority.issue("gate.test"), authority.issue("gate.test")
    gateway = serve(gate(origin, certificates=first.files), workers=2)
    context = authority.client()
    with client(gateway, context) as kept:
        gateway.write(gate(origin, certificates=second.files))
        assert gateway.ask("reload")["ok"]

        def shown() -> bytes:
            with client(gateway, context) as fresh:
                return fresh.certificate

        # the old workers may take a last connection before they hear of it
        wanted = ssl.PEM_cert_to_DER_cert(Path(second.chain).read_text())
        eventually(lambda: shown() == wanted, "the new certificate is shown")
        assert kept.get("/fixed").status == 200


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing", ["`nowhere.pem` does not exist"]),
        ("empty", ["empty.pem` holds no certificate"]),
        ("no key", ["holds no private key"]),
        ("other key", ["is not the one of the certificate in"]),
        ("garbage", ["is not valid PEM"]),
        ("no response", ["empty.pem` holds no OCSP response"]),
        ("no authority", ["mode `required` needs a certificate authority"]),
        ("none", ["TLS without a certificate"]),
    ],
)
def test_bad_certificates_are_refused_by_file_and_reason(
    serve: Serve, origin: Origin, authority: Authority, tmp_path: Path, fault: str, words: list[str]
) -> None:
    leaf, other = authority.issue("gate.test"), authority.issue("gate.test")
    (tmp_path / "empty.pem").write_text("nothing\n")
    (tmp_path / "garbage.pem").write_text("-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n")
    settings: dict[str, dict[str, Any]] = {
        "missing": {"certificates": "nowhere.pem"},
        "empty": {"certificates": str(tmp_path / "empty.pem")},
        "no key": {"certificates": leaf.chain},
        "other key": {"certificates": {"certificate": leaf.chain, "key": other.key}},
        "garbage": {"certificates": {"certificate": str(tmp_path / "garbage.pem"), "key": leaf.key}},
        "no response": {"certificates": {**leaf.files, "ocsp": str(tmp_path / "empty.pem")}},
        "no authority": {"certificates": leaf.files, "client_certificates": {"mode": "required"}},
        "none": {"policy": "modern"},
    }
    gateway = serve(gate(origin, **settings[fault]), is_ready=False)
    assert gateway.process.wait(20) == 2
    assert all(word in gateway.log() for word in words), gateway.log()


def test_stapled_response_reaches_clients_that_ask(
    serve: Serve, origin: Origin, authority: Authority
) -> None:
    leaf = authority.issue("gate.test")
    gateway = serve(gate(origin, certificates={**leaf.files, "ocsp": authority.ocsp_response(leaf)}))
    for version in ("-tls1_2", "-tls1_3"):
        shown = openssl(gateway, authority, version, "-status")
        assert "OCSP Response Status: successful" in shown and "Cert Status: good" in shown
        assert "Verify return code: 0 (ok)" in shown
        assert "OCSP" not in openssl(gateway, authority, version)


def test_certificate_near_its_end_is_warned_of(serve: Serve, origin: Origin, authority: Authority) -> None:
    gateway = serve(gate(origin, certificates=authority.issue("gate.test", days=(-80, 3)).files))
    gateway.wait_for_log(r"certificate for gate\.test expires in \d days")


def test_unix_socket_may_speak_tls(
    serve: Serve, origin: Origin, authority: Authority, leaves: dict[str, Leaf], tmp_path: Path
) -> None:
    gateway = serve(gate(origin, certificates=leaves["gate"].files), listen=f"unix:{tmp_path}/s")
    with client(gateway, authority.client()) as connection:
        assert connection.get("/fixed").status == 200


def test_pipelined_bytes_with_the_handshake_are_not_lost(
    gateway: RunningGateway, authority: Authority
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = authority.client().wrap_bio(incoming, outgoing, server_hostname="gate.test")
    with RawClient(gateway.address) as connection:
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.send(outgoing.read())
                incoming.write(connection.socket.recv(65536))
        # the client's Finished and its first request in one segment
        session.write(b"GET /fixed HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n")
        connection.send(outgoing.read())
        response = b""
        while b"fixed" not in response:
            incoming.write(connection.socket.recv(65536))
            try:
                response += session.read(65536)
            except ssl.SSLWantReadError:
                pass


def test_http2_is_spoken_where_the_client_offers_it(gateway: RunningGateway, authority: Authority) -> None:
    port = gateway.address.rpartition(":")[2]
    url = f"https://gate.test:{port}"
    options = ["-sS", "--cacert", authority.ca, "--resolve", f"gate.test:{port}:127.0.0.1"]
    shown = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}\n"]
    newer = [*options, "--http2", *shown, f"{url}/fixed", *shown, f"{url}/"]
    older = [*options, "--http1.1", *shown, url]
    command = ["curl", *newer, "--next", *older]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout.split("\n")[:3] == ["2 200", "2 200", "1.1 200"], done.stderr


def test_sessions_are_resumed_by_any_worker_and_after_a_reload(
    serve: Serve, origin: Origin, authority: Authority
) -> None:
    source = gate(origin, certificates=authority.issue("gate.test").files)
    gateway = serve(source, workers=3)
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with client(gateway, context) as first:
        session = first.socket.session
    for _ in range(2):
        for _ in range(8):
            with client(gateway, context, session=session) as again:
                assert again.socket.session_reused and again.get("/fixed").status == 200
        gateway.write(source + "# a change of code\n")
        assert gateway.ask("reload")["ok"]
    assert gateway.counter("tls_resumed") >= 16


HANDED_ON = {"listeners", "admin_listeners", "dictionaries", "metrics", "line"}
"""What an upgrade tells its successor in the environment, which other users of the machine may read."""


def test_sessions_are_resumed_after_an_upgrade(serve: Serve, origin: Origin, authority: Authority) -> None:
    gateway = serve(gate(origin, certificates=authority.issue("gate.test").files), workers=2)
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with client(gateway, context) as first:
        session = first.socket.session
    response = gateway.ask("upgrade")
    assert response["ok"], response
    try:
        assert gateway.process.wait(60) == 0, "the old program has exited: only the new one responds"
        for _ in range(4):
            with client(gateway, context, session=session) as again:
                assert again.socket.session_reused and again.get("/fixed").status == 200
        variables = Path(f"/proc/{response['pid']}/environ").read_text().split("\0")
        told = next(one for one in variables if one.startswith("HEADGATE_INHERITED="))
        assert json.loads(told.partition("=")[2]).keys() == HANDED_ON, "no key"
    finally:
        os.kill(response["pid"], signal.SIGTERM)


def test_tickets_may_be_turned_off(serve: Serve, origin: Origin, authority: Authority) -> None:
    gateway = serve(gate(origin, certificates=authority.issue("gate.test").files, tickets=False))
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with client(gateway, context) as first:
        assert not first.socket.session.has_ticket
