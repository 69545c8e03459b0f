"""The examples of TLS do what they say."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.kit import Origin, RunningGateway, Serve, TlsClient, eventually
from e2e.kit.pki import Authority, Leaf
from e2e.kit.services import redis

EXAMPLES = Path(__file__).parents[2] / "examples"


def start(serve: Serve, name: str, **environment: str) -> RunningGateway:
    """Runs an example on the kit's address."""
    text = "import os; os.environ['LISTEN'] = LISTEN\n" + (EXAMPLES / name).read_text()
    return serve(text, environment=environment)


def pem(leaf: Leaf) -> str:
    return Path(leaf.chain).read_text() + Path(leaf.key).read_text()


@pytest.fixture(scope="module")
def by_route(
    serve_module: Serve, tmp_path_factory: pytest.TempPathFactory, origin: Origin, authority: Authority
) -> RunningGateway:
    certs = tmp_path_factory.mktemp("certs")
    (certs / "live").mkdir()
    for name in ("gate.test", "other.test"):
        (certs / "live" / f"{name}.pem").write_text(pem(authority.issue(name)))
    shutil.copy(authority.ca, certs / "clients-ca.pem")
    return start(serve_module, "tls_client_certificates.py", CERTS=str(certs), ORIGIN=origin.address)


def statuses(gateway: RunningGateway, context: ssl.SSLContext, name: str = "gate.test") -> dict[str, int]:
    paths = ("/health", "/public/x", "/private", "/admin/x")
    with TlsClient(gateway.address, context, name) as client:
        return {path: client.get(path, host=name).status for path in paths}


def test_some_routes_are_open_and_the_others_want_a_certificate(
    by_route: RunningGateway, origin: Origin, authority: Authority, tmp_path: Path
) -> None:
    anybody = {"/health": 200, "/public/x": 200, "/private": 400, "/admin/x": 400}
    assert statuses(by_route, authority.client()) == anybody
    assert statuses(by_route, authority.client(), "other.test") == anybody
    stranger = Authority(tmp_path / "other", "Other CA").issue("admin.example.com", for_client=True)
    assert statuses(by_route, authority.client(stranger)) == anybody
    user = authority.client(authority.issue("alice.test", for_client=True))
    assert statuses(by_route, user) == {**anybody, "/private": 200, "/admin/x": 403}
    admin = authority.client(authority.issue("admin.example.com", for_client=True))
    assert statuses(by_route, admin) == {**anybody, "/private": 200, "/admin/x": 200}
    assert origin.wait_for("/private").get("x-client-subject") == "CN=alice.test,O=Example"


def test_name_without_a_certificate_is_refused(by_route: RunningGateway, authority: Authority) -> None:
    with pytest.raises(ssl.SSLError):
        statuses(by_route, authority.client(), "nobody.test")


@dataclass
class Stored:
    """A gateway and the Redis that it takes certificates from."""

    gateway: RunningGateway
    port: str

    def store(self, name: str, leaf: Leaf) -> None:
        pair = ("certificate", Path(leaf.chain).read_text(), "key", Path(leaf.key).read_text())
        self.command("hset", f"certificates:{name}", *pair)

    def command(self, *words: str) -> None:
        subprocess.run(["redis-cli", "-p", self.port, *words], check=True, capture_output=True)


@pytest.fixture(scope="module")
def stored(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory, origin: Origin) -> Iterator[Stored]:
    with redis(tmp_path_factory.mktemp("redis")) as url:
        gateway = start(serve_module, "certificates_redis.py", REDIS=url, ORIGIN=origin.address, KEEP_S="0.2")
        yield Stored(gateway, url.rpartition(":")[2])


def shown(stored: Stored, authority: Authority, name: str) -> bytes | None:
    try:
        with TlsClient(stored.gateway.address, authority.client(), name) as client:
            assert client.get("/", host=name).status == 200
            return client.certificate
    except (ssl.SSLError, ConnectionError):
        return None


def der(leaf: Leaf) -> bytes:
    return ssl.PEM_cert_to_DER_cert(Path(leaf.chain).read_text())


def test_certificate_is_taken_from_redis(stored: Stored, authority: Authority) -> None:
    first, second = authority.issue("one.test"), authority.issue("one.test")
    assert shown(stored, authority, "one.test") is None
    stored.store("one.test", first)
    eventually(lambda: shown(stored, authority, "one.test") == der(first), "the new name is served")
    stored.store("one.test", second)
    eventually(lambda: shown(stored, authority, "one.test") == der(second), "the new certificate is served")
    stored.gateway.wait_for_log("no certificate for `one.test`")


def test_wildcard_stands_for_one_label(stored: Stored, authority: Authority) -> None:
    leaf = authority.issue("*.shop.test")
    stored.store("*.shop.test", leaf)
    assert shown(stored, authority, "a.shop.test") == der(leaf)
    assert shown(stored, authority, "a.b.shop.test") is None


def test_what_is_known_is_served_while_redis_is_away(
    serve: Serve, tmp_path: Path, origin: Origin, authority: Authority
) -> None:
    leaf = authority.issue("kept.test")
    with redis(tmp_path) as url:
        gateway = start(serve, "certificates_redis.py", REDIS=url, ORIGIN=origin.address, KEEP_S="0")
        stored = Stored(gateway, url.rpartition(":")[2])
        stored.store("kept.test", leaf)
        assert shown(stored, authority, "kept.test") == der(leaf)
    assert shown(stored, authority, "kept.test") == der(leaf)
    assert shown(stored, authority, "new.test") is None
