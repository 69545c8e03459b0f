"""What every run needs before the first measurement: files, configurations, certificates, the origin and Redis."""

import contextlib
import getpass
import json
import random
import resource
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

from . import cost, routes
from .place import LOAD_CPU, ORIGIN, REDIS, RUN, TEMPLATES
from .proxies import await_port

OPENSSL = """openssl_conf = a
[a]
ssl_conf = b
[b]
system_default = c
[c]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""
NAMES = (
    "Ada",
    "Grace",
    "Alan",
    "Edsger",
    "Barbara",
    "Donald",
    "Leslie",
    "Tony",
    "Niklaus",
    "John",
    "Margaret",
    "Ken",
    "Dennis",
    "Bjarne",
    "Guido",
)
TARGETS = """
local n = 0
request = function() n = n + 1; return wrk.format(nil, "/5k?n=" .. n) end
"""
"""For wrk: no target comes twice."""
POST = """wrk.method = "POST"
wrk.body = string.rep("x", 16384)
wrk.headers["Content-Type"] = "text/plain"
"""


def certificate(name: str, *kind: str) -> None:
    """A self-signed certificate with its key, in one file."""
    key, crt = RUN / f"{name}.key", RUN / f"{name}.crt"
    if (RUN / f"{name}.pem").exists():
        return
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        *kind,
        "-nodes",
        "-days",
        "3650",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run([*command, "-addext", names, "-keyout", key, "-out", crt], check=True, capture_output=True)
    (RUN / f"{name}.pem").write_bytes(crt.read_bytes() + key.read_bytes())


def records() -> str:
    """5 KB of JSON as an API gives it, the same each time."""
    chance, found = random.Random(5), list[dict[str, object]]()
    while len(text := json.dumps(found)) < 5 << 10:
        found.append(
            {
                "id": chance.randrange(10**9),
                "name": f"{chance.choice(NAMES)} {chance.choice(NAMES)}",
                "email": f"{chance.choice(NAMES).lower()}{chance.randrange(1000)}@example.com",
                "created": f"2026-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}T10:00:00Z",
                "active": chance.random() < 0.7,
                "balance": round(chance.random() * 1000, 2),
            }
        )
    return text[: 5 << 10]


def prepare() -> None:
    """Writes bodies, certificates, the peers' configurations and the tables of routes."""
    (RUN / "www").mkdir(parents=True, exist_ok=True)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for name, size in (("5k", 5 << 10), ("64k", 64 << 10), ("1m", 1 << 20)):
        (RUN / "www" / name).write_text("x" * size)
    (RUN / "www" / "json").write_text(records())
    (RUN / "client.cnf").write_text(OPENSSL)
    (RUN / "post.lua").write_text(POST)
    (RUN / "targets.lua").write_text(TARGETS)
    certificate("rsa", "rsa:2048")
    certificate("ec", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    user = f"user {getpass.getuser()};" if getpass.getuser() == "root" else ""
    for template in filter(Path.is_file, TEMPLATES.iterdir()):
        text = template.read_text().replace("@RUN@", str(RUN)).replace("@USER@", user)
        (RUN / template.name).write_text(text)
    routes.write()


@contextlib.contextmanager
def origin() -> Iterator[None]:
    """The origin and Redis on the load's CPU, for as long as the block lasts (left alone if they already run)."""
    started = []
    redis = f'redis-server --port {REDIS} --bind 127.0.0.1 --save "" --appendonly no'
    for port, command in ((ORIGIN, f"nginx -c {RUN}/origin.conf"), (REDIS, redis)):
        if not cost.listeners(port):
            pinned = ["taskset", "-c", str(LOAD_CPU), *shlex.split(command)]
            nothing = subprocess.DEVNULL
            started.append(subprocess.Popen(pinned, cwd=RUN, stdin=nothing, stdout=nothing))
        await_port(port, command)
    subprocess.run(["redis-cli", "-p", str(REDIS), "set", "k", "v"], capture_output=True)
    try:
        yield
    finally:
        for process in started:
            process.terminate()
            process.wait()
