"""Trains an instrumented build: puts the loads of `load.py` on a gateway of its own, with the access log off and on.

The counts are written when the gateway's processes end, by what the compiler put into them.
"""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from load import FIELDS, HOST, SHORT, each_its_own, http1, http2
from load_http3 import http3

HERE = Path(__file__).resolve().parent
START_S, STOP_S = 60, 60


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def await_port(port: int, program: subprocess.Popen[bytes]) -> None:
    """Returns when somebody listens there; an error when the program ends before."""
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if program.poll() is not None:
            sys.exit(f"{program.args!r} ended with {program.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nobody listens on port {port} after {START_S} s")


@contextlib.contextmanager
def running(port: int, *arguments: str, settings: dict[str, str] | None = None) -> Iterator[None]:
    """A Python program that listens on `port`; told to stop at the end, upon which a gateway writes its counts."""
    program = subprocess.Popen([sys.executable, *arguments], env=os.environ | (settings or {}))
    try:
        await_port(port, program)
        yield
    finally:
        program.terminate()
        program.wait(STOP_S)


def certificate(path: Path) -> None:
    """Writes a key (P-256) and its self-signed certificate for the host asked for."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now).not_valid_after(now + timedelta(days=90))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path.write_bytes(
        key.private_bytes(pem, pkcs8, serialization.NoEncryption())
        + made.sign(key, hashes.SHA256()).public_bytes(pem)
    )


def loads(plain: int, tls: int, quic: int) -> None:
    """What the gateway is trained by; the numbers are rounds over thirty connections."""
    for fields in (FIELDS, SHORT):
        http1(plain, "/5000", 450, fields=fields)
        http1(plain, "/edited/5000", 450, fields=fields)
    http1(plain, "/users/7/files/100", 180)
    http1(plain, "/65536", 120)
    http1(plain, "/1000000", 5)
    http1(plain, "/20", 240, body=16_384)
    http1(plain, "/awaited/5000", 180)
    http1(plain, "/changed/5000", 180)
    http1(plain, "/watched/1000000", 6)
    http1(plain, "/fetched/5000", 180)
    http1(plain, "/local", 180)
    each_its_own(plain, "/5000", 300)
    http1(tls, "/5000", 300, tls=True)
    http1(tls, "/65536", 30, tls=True)
    each_its_own(tls, "/5000", 60, tls=True)
    http2(plain, "/5000", 240)
    http2(tls, "/5000", 240, tls=True)
    http3(quic, "/5000", 60)
    http3(quic, "/edited/5000", 20)
    http3(quic, "/1000000", 4, streams=2)
    http3(quic, "/20", 10, body=16_384)
    for _ in range(10):
        http3(quic, "/5000", 1, streams=1)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="headgate-training-") as folder:
        certificate(Path(folder) / "tls.pem")
        origin_port, plain, tls, quic = (free_port() for _ in range(4))
        ports = {"TRAIN_PLAIN": plain, "TRAIN_TLS": tls, "TRAIN_QUIC": quic, "TRAIN_ORIGIN": origin_port}
        settings = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        settings["TRAIN_CERTIFICATE"] = str(Path(folder) / "tls.pem")
        log = {"TRAIN_LOG": str(Path(folder) / "access.log")}
        with running(origin_port, str(HERE / "training_origin.py"), str(origin_port)):
            for more in ({}, log):
                gate = ("-m", "headgate", "run", str(HERE / "training_gate.py"), "--workers=1")
                with running(plain, *gate, settings=settings | more):
                    loads(plain, tls, quic)


if __name__ == "__main__":
    main()
