"""Pebble, an ACME authority for tests, the DNS server that it asks, and managers that order there."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from headgate.acme import CertificateManager
from headgate.config.acme import AcmeConfig

from .net import eventually, free_port
from .pki import Authority
from .services import HINT, wait_for_port


@dataclass
class Pebble:
    """A running authority."""

    directory: str
    ca: str
    """PEM file: who signed the directory's own certificate."""
    http_port: int
    tls_port: int
    dns: str
    """`HOST:PORT` of the DNS server, for which every name is 127.0.0.1."""
    dns_management: str
    management: str

    def tell_dns(self, path: str, **values: object) -> None:
        """Changes what the DNS server says, such as `/set-txt` with `host` and `value`."""
        request = urllib.request.Request(f"{self.dns_management}{path}", json.dumps(values).encode())
        with urllib.request.urlopen(request, timeout=10) as response:
            response.read()

    def alternative_root(self) -> str:
        """The name of the authority that signs the alternative chain (`PEBBLE_ALTERNATE_ROOTS`)."""
        context = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(f"{self.management}/roots/1", timeout=10, context=context) as response:
            root = x509.load_pem_x509_certificate(response.read())
        return str(root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def program(name: str) -> str | None:
    """Where Go has installed a program."""
    folders = [os.environ.get("GOBIN", ""), str(Path.home() / "go" / "bin")]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(filter(None, folders)))


def is_here() -> bool:
    """Whether Pebble is installed."""
    return program("pebble") is not None and program("pebble-challtestsrv") is not None


@contextlib.contextmanager
def pebble(
    folder: Path,
    http_port: int,
    tls_port: int,
    *,
    environment: Mapping[str, str] | None = None,
    settings: Mapping[str, object] | None = None,
    dns: str | None = None,
) -> Iterator[Pebble]:
    """An authority that validates names at those ports of 127.0.0.1; one nonce in twenty is bad, as is its default.
    `dns` is a name server to ask in place of the one of tests.
    """
    server, dns_server = program("pebble"), program("pebble-challtestsrv")
    if server is None or dns_server is None:
        raise RuntimeError(f"no pebble here; {HINT}")
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder / "pki")
    leaf = authority.issue("localhost", "127.0.0.1")
    port, management, dns_port, dns_management = (free_port() for _ in range(4))
    config = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": leaf.chain,
        "privateKey": leaf.key,
        "httpPort": http_port,
        "tlsPort": tls_port,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
        "retryAfter": {"authz": 1, "order": 1},
        "profiles": {"default": {"description": "90 days", "validityPeriod": 7776000}},
        **(settings or {}),
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": config}))
    names = [
        dns_server,
        "-defaultIPv4",
        "127.0.0.1",
        "-defaultIPv6",
        "",
        "-dnsserver",
        f"127.0.0.1:{dns_port}",
    ]
    names += ["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""]
    names += ["-management", f"127.0.0.1:{dns_management}"]
    orders = [server, "-config", str(folder / "pebble.json"), "-dnsserver", dns or f"127.0.0.1:{dns_port}"]
    told = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", **(environment or {})}
    with contextlib.ExitStack() as stack:
        for command, at in ((names, dns_management), (orders, port)):
            log = stack.enter_context((folder / f"{Path(command[0]).name}.log").open("wb"))
            process = subprocess.Popen(command, stdout=log, stderr=log, env=told)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)
            wait_for_port(at, process, Path(log.name))
        yield Pebble(
            f"https://localhost:{port}/dir",
            authority.ca,
            http_port,
            tls_port,
            f"127.0.0.1:{dns_port}",
            f"http://127.0.0.1:{dns_management}",
            f"https://127.0.0.1:{management}",
        )


@contextlib.contextmanager
def name_server(folder: Path, zone: str) -> Iterator[tuple[str, int, str]]:
    """BIND with a zone that takes dynamic updates signed with a key; gives its host, its port and the key's secret."""
    named = shutil.which("named", path=f"{os.environ['PATH']}:/usr/sbin")
    if named is None:
        raise RuntimeError(f"no named here; {HINT}")
    folder.mkdir()
    port, secret = free_port(), base64.b64encode(b"k" * 32).decode()
    (folder / "zone").write_text(
        f"$TTL 60\n@ IN SOA ns.{zone}. ops.{zone}. (1 60 60 60 60)\n@ IN NS ns.{zone}.\n"
        "ns IN A 127.0.0.1\n@ IN A 127.0.0.1\n* IN A 127.0.0.1\n"
        f"_acme-challenge.moved IN CNAME _acme-challenge.elsewhere.{zone}.\n"
    )
    (folder / "named.conf").write_text(
        f'options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n'
        f'  pid-file "{folder}/pid"; session-keyfile "{folder}/session"; recursion no; }};\n'
        f'key "gate" {{ algorithm hmac-sha256; secret "{secret}"; }};\n'
        f'zone "{zone}" {{ type master; file "{folder}/zone"; allow-update {{ key "gate"; }}; }};\n'
        "controls { };\n"
    )
    with (folder / "named.log").open("wb") as log:
        command = [named, "-g", "-c", str(folder / "named.conf"), "-n", "1"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for_port(port, process, folder / "named.log")
        yield "127.0.0.1", port, secret
    finally:
        process.terminate()
        process.wait(timeout=20)


def config(authority: Pebble, **settings: Any) -> AcmeConfig:
    """The settings of a manager that orders there."""
    told = {"directory": authority.directory, "ca": authority.ca, "email": "ops@shop.test", **settings}
    return AcmeConfig.parse(told)


@contextlib.asynccontextmanager
async def ordering(manager: CertificateManager) -> AsyncIterator[None]:
    """Lets the manager work meanwhile."""
    task = asyncio.ensure_future(manager.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], Any], what: str) -> Any:
    """Waits for it; an order takes some seconds."""
    return await asyncio.to_thread(eventually, condition, lambda: what, within=90)


def shown(port: int, name: str) -> x509.Certificate | None:
    """The certificate that a client gets that asks for the name; none where the handshake is refused."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            der = connection.getpeercert(binary_form=True)
    except (ssl.SSLError, ConnectionError):
        return None
    return x509.load_der_x509_certificate(der) if der else None


def names_of(certificate: x509.Certificate | None) -> list[str]:
    """The host names of a certificate; none where there is none."""
    if certificate is None:
        return []
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)
