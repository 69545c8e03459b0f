"""HTTP/3 over networks that lose packets and bring them out of order, with two clients."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from e2e.kit import Origin, RunningGateway, Serve
from e2e.kit.behaviours import digest, reply
from e2e.kit.http3 import Http3Client
from e2e.kit.lossy import lossy
from e2e.kit.pki import Authority, Leaf

NAME = "headgate-h3load"


def program() -> str | None:
    """The loader of bench/h3load, on the path or where `make services` puts it."""
    folder = os.environ.get("GOBIN") or Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin"
    return shutil.which(NAME) or shutil.which(NAME, path=str(folder))


@pytest.fixture(scope="module", params=["cubic", "bbr"])
def gateway(
    request: pytest.FixtureRequest, serve_module: Serve, authority: Authority, origin: Origin
) -> RunningGateway:
    leaf: Leaf = authority.issue("gate.test")
    return serve_module(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.http3(congestion={request.param!r})
gate.route("/", to={origin.address!r})
""")


def test_what_is_lost_is_sent_again(gateway: RunningGateway, authority: Authority, origin: Origin) -> None:
    body = os.urandom(600_000)
    origin.on("/long", reply(body))
    origin.on("/digest", digest)
    with lossy(gateway.address) as network, Http3Client(network.address, authority.ca, timeout=60) as client:
        streams = [client.request("/long") for _ in range(3)]
        sent = client.request("/digest", method="POST", body=body)
        assert all(client.response(stream).body == body for stream in streams)
        assert client.response(sent).body.decode() == hashlib.sha256(body).hexdigest()
        assert network.lost > 5 and network.reordered > 10


@pytest.mark.skipif(program() is None, reason=f"no {NAME} here; hint: `make services` builds it where Go is")
@pytest.mark.parametrize("loss", [0.0, 0.01, 0.05])
def test_clients_of_quic_go_are_served(gateway: RunningGateway, origin: Origin, loss: float) -> None:
    origin.on("/go", reply(os.urandom(50_000)))
    with lossy(gateway.address, loss=loss, reorder=2 * loss) as network:
        command = [program(), "-url", f"https://{network.address}/go"]
        command += ["-connections", "3", "-streams", "4", "-seconds", "2"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)  # type: ignore[arg-type]
    told = json.loads(done.stdout)
    assert told["failed"] == 0, told
    assert told["requests"] >= 12
    assert told["bytes"] == told["requests"] * 50_000
