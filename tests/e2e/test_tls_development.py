"""The authority of this machine, for development: one command, and a client that is told of it is content."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from e2e.kit import Origin, Serve, eventually, free_port
from e2e.kit.gateway import HEADGATE

from headgate import _core


def curl(url: str, ca: Path) -> subprocess.CompletedProcess[str]:
    shown = ["-w", " %{http_version} %{ssl_verify_result}"]
    command = ["curl", "-sS", "--cacert", str(ca), *shown, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_proxy_serves_https_with_a_certificate_of_its_own_authority(tmp_path: Path, origin: Origin) -> None:
    url, log, data = f"https://localhost:{free_port()}", tmp_path / "log", tmp_path / "data"
    arguments = [str(HEADGATE), "proxy", url, "--to", f"http://{origin.address}", "--workers", "2"]
    environment = {
        **os.environ,
        "HEADGATE_RUNTIME_DIR": str(tmp_path / "run"),
        "HEADGATE_DATA_DIR": str(data),
    }
    ca = data / "authority" / "ca.pem"
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output, env=environment)
    try:
        done = eventually(
            lambda: ca.exists() and (told := curl(f"{url}/hello", ca)).returncode == 0 and told,
            lambda: log.read_text(),
            within=20,
        )
        assert done.stdout.endswith(" 2 0"), done.stdout
        assert origin.wait_for("/hello").get("x-forwarded-proto") == "https"
        assert "headgate trust" in log.read_text(), "it says how to trust it"
        assert (data / "authority" / "ca.key").stat().st_mode & 0o077 == 0
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0


def test_authority_is_made_once_and_signs_for_other_names(serve: Serve, tmp_path: Path) -> None:
    ca = tmp_path / "authority" / "ca.pem"
    environment = {"HEADGATE_DATA_DIR": str(tmp_path)}
    made: list[bytes] = []
    for name in ("one.test", "two.test"):
        source = f"from headgate import Gateway\ngate = Gateway()\ngate.listen(LISTEN, tls={{'local': {name!r}}})\n"
        gateway = serve(source + "gate.route('/', respond='fine')\n", environment=environment)
        made.append(ca.read_bytes())
        port = gateway.address.rpartition(":")[2]
        command = ["curl", "-sS", "--cacert", str(ca), "--resolve", f"{name}:{port}:127.0.0.1"]
        done = subprocess.run(
            [*command, f"https://{name}:{port}/"], capture_output=True, timeout=20, check=False
        )
        assert done.stdout == b"fine", done.stderr
    assert made[0] == made[1]


IN_NAMESPACE = """
set -eu
mount -t tmpfs none /usr/local/share/ca-certificates
cp -a /etc/ssl/certs "$1"
mount --bind "$1/certs" /etc/ssl/certs
shift
exec "$@"
"""
"""A system of its own as far as trust goes: what is changed in it is gone with the process."""

TRUSTING = """
import os, pathlib, ssl, subprocess, sys
headgate = sys.argv[1]

def trusted():
    name = ssl.create_default_context().get_ca_certs()
    return any(("commonName", "headgate local authority") in part for one in name for part in one["subject"])

assert not trusted()
for _ in range(2):
    subprocess.run([headgate, "trust"], check=True)
    assert trusted()
for _ in range(2):
    subprocess.run([headgate, "trust", "--remove"], check=True)
    assert not trusted()
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("update-ca-certificates"),
    reason="needs root and Debian's trust store",
)
def test_the_system_trusts_the_authority_and_no_longer(tmp_path: Path) -> None:
    environment = {**os.environ, "HEADGATE_DATA_DIR": str(tmp_path / "data"), "HOME": str(tmp_path)}
    apart = ["unshare", "--mount", "sh", "-c", IN_NAMESPACE, "sh", str(tmp_path)]
    done = subprocess.run(
        [*apart, sys.executable, "-c", TRUSTING, str(HEADGATE)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if "Operation not permitted" in done.stderr and "unshare" in done.stderr:
        pytest.skip("namespaces are not allowed here")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is trusted; restart") == 2
    assert not Path("/usr/local/share/ca-certificates/headgate-local.crt").exists()


def test_trust_tells_the_browsers_of_this_user(tmp_path: Path) -> None:
    if not shutil.which("certutil"):
        pytest.skip("needs certutil")
    database = tmp_path / ".pki" / "nssdb"
    database.mkdir(parents=True)
    subprocess.run(["certutil", "-N", "--empty-password", "-d", f"sql:{database}"], check=True)

    def names() -> str:
        listed = ["certutil", "-L", "-d", f"sql:{database}"]
        return subprocess.run(listed, capture_output=True, text=True, check=True).stdout

    authority = tmp_path / "authority"
    assert _core.ensure_local_authority(str(authority)) and not _core.ensure_local_authority(str(authority))
    environment = {**os.environ, "HOME": str(tmp_path)}
    for certificate, is_there in ((authority / "ca.pem", True), (None, False)):
        code = "import sys; from pathlib import Path; from headgate.cli.trusting import _tell_browsers; "
        code += "_tell_browsers(Path(sys.argv[1]) if sys.argv[1:] else None)"
        arguments = [str(certificate)] if certificate else []
        subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True)
        assert ("headgate-local" in names()) is is_there


def test_an_authority_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment = {**os.environ, "HEADGATE_DATA_DIR": str(tmp_path / "file")}
    done = subprocess.run(
        [str(HEADGATE), "trust"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1 and "local certificate authority" in done.stderr, done.stderr
