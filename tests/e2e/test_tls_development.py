"""The authority of this machine, for development: one command, and a client that is told of it is content."""

import os
import signal
import subprocess
from pathlib import Path

from e2e.kit import Origin, Serve, eventually, free_port
from e2e.kit.gateway import HEADGATE


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
        assert "update-ca-certificates" in log.read_text(), "it says how to trust it"
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
