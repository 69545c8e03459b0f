"""Prometheus's own `promtool` accepts what a gateway exposes, with every kind of series in it."""

import shutil
import subprocess

import pytest
from e2e.kit import Origin, Serve, eventually, free_port
from e2e.kit.log_targets import LineServer
from e2e.kit.metrics import get, scrape
from e2e.kit.services import HINT

SOURCE = """
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
gate.metrics(f"127.0.0.1:{METRICS}")
gate.store(f"sqlite://{FOLDER}/store.db")
gate.state_folder(FOLDER + "/state")
gate.log_target(f"tcp://127.0.0.1:{LINES}", flush="10ms")
app = gate.upstream("app", ORIGIN)
gate.route("/", to=app, name="api")
gate.route("/none", to="127.0.0.1:1", name="none")
logins = gate.metrics.counter("logins", "Logins.", labels=["plan"])
waiting = gate.metrics.gauge("waiting", "Requests that wait.")
lookups = gate.metrics.histogram("lookup_seconds", "Lookups.")

@gate.request
def count(request):
    logins.inc('a"b\\\\c\\n')
    waiting.set(2)
    lookups.observe(0.25)
"""


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        raise RuntimeError(f"no promtool here; {HINT}")
    return found


def test_the_exposition_passes(serve: Serve, origin: Origin, promtool: str) -> None:
    metrics = free_port()
    address = f"127.0.0.1:{metrics}"
    with LineServer() as lines:
        names = {"METRICS": metrics, "LINES": lines.port, "ORIGIN": origin.address}
        gateway = serve(SOURCE, names=names, workers=2)
        gateway.get("/x")
        gateway.get("/none")
        wanted = (
            *("headgate_requests_total", "headgate_hook_seconds_count", "headgate_failures_total"),
            *("logins_total", "waiting", "lookup_seconds_count", "headgate_log_shipped_total"),
            *("headgate_store_up", "headgate_config_last_applied_timestamp_seconds"),
        )
        eventually(
            lambda: all(scrape(gateway, address).value(name) > 0 for name in wanted), "every kind of series"
        )
        text = get(address, Accept="text/plain").body
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    said = (checked.stdout + checked.stderr).decode()
    assert checked.returncode == 0 and said == "", said
