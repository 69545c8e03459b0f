"""h2spec in strict mode: RFC 9113 and RFC 7541 as a server must take them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually, free_port
from e2e.kit.http2 import Http2Client
from e2e.kit.pki import Authority

HINT = "no h2spec here; hint: `make services` installs it where Go is"


def program() -> str | None:
    """The program, on the path or where `go install` puts it."""
    folder = os.environ.get("GOBIN") or Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin"
    return shutil.which("h2spec") or shutil.which("h2spec", path=str(folder))


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    config = {"routes": [{"to": origin.address}], "http2": {"h2c": "only"}}
    # the kit's own first request would be HTTP/1, which nobody speaks here
    gateway = serve_module(config, listen=f"127.0.0.1:{free_port()}", is_ready=False)

    def responds() -> bool:
        try:
            with Http2Client(gateway.address) as client:
                return client.get("/kit-probe").status == 200
        except OSError:
            return False

    eventually(responds, "the gateway responses", within=45)
    return gateway


@pytest.fixture(scope="module")
def secure_gateway(serve_module: Serve, origin: Origin, authority: Authority) -> RunningGateway:
    leaf = authority.issue("gate.test")
    tls = {"certificates": [leaf.files], "alpn": ["h2"], "host_mismatch": "allow"}
    address = f"127.0.0.1:{free_port()}"
    plain = f"127.0.0.1:{free_port()}"
    listeners = [plain, {"address": address, "tls": tls}]
    gateway = serve_module({"listeners": listeners, "routes": [{"to": origin.address}]}, listen=plain)
    gateway.address = address
    return gateway


@pytest.mark.skipif(program() is None, reason=HINT)
def test_h2spec_finds_no_failure_in_five_runs(gateway: RunningGateway) -> None:
    judge(gateway)


@pytest.mark.skipif(program() is None, reason=HINT)
def test_h2spec_finds_no_failure_in_five_runs_over_tls(secure_gateway: RunningGateway) -> None:
    judge(secure_gateway, "--tls", "--insecure")


def judge(gateway: RunningGateway, *options: str) -> None:
    """Runs h2spec five times."""
    command = program()
    assert command is not None
    host, _, port = gateway.address.rpartition(":")
    arguments = [command, "--strict", "--host", host, "--port", port, "--timeout", "5", *options]
    for _ in range(5):
        run = subprocess.run(arguments, capture_output=True, text=True, timeout=100)
        told = run.stdout[run.stdout.find("Failures:") :]
        summary = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", run.stdout)
        assert summary is not None, run.stdout + run.stderr
        assert summary.groups() == ("146", "146", "0", "0"), told
