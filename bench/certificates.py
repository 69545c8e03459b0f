"""How long the first client of a name waits while its certificate is ordered from Pebble and served: in its handshake.

`.venv/bin/python bench/certificates.py [NAMES]`; needs Pebble (`make services`).
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from e2e.kit.acme import names_of, pebble, shown
from e2e.kit.net import eventually, free_port

HEADGATE = Path(sys.executable).with_name("headgate")


def main() -> None:
    """Prints how long each first handshake took, in seconds, for each setting of the authority."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    for label, environment in (
        ("quick", {}),
        ("waits up to 2 s before it validates", {"PEBBLE_VA_NOSLEEP": "0"}),
    ):
        environment = environment and {**environment, "PEBBLE_VA_SLEEPTIME": "3"}
        with tempfile.TemporaryDirectory() as folder:
            times = sorted(first_handshakes(Path(folder), environment, count))
        print(
            f"authority {label}: median {statistics.median(times):.2f} s, longest {times[-1]:.2f} s,"
            f" of {len(times)} names"
        )


def first_handshakes(folder: Path, environment: dict[str, str], count: int) -> list[float]:
    """The seconds from each name's first connection to the end of its handshake."""
    plain, secure = free_port(), free_port()
    with pebble(folder / "pebble", plain, secure, environment=environment) as authority:
        config = {
            "listeners": [f"127.0.0.1:{plain}", {"address": f"127.0.0.1:{secure}", "tls": "auto"}],
            "acme": {
                "directory": authority.directory,
                "ca": authority.ca,
                "folder": str(folder / "acme"),
                "on_demand": {"ask": f"http://127.0.0.1:{plain}/ask", "max_orders": 1000},
            },
            "routes": [{"path": "/", "respond": "fine"}],
        }
        (folder / "gate.json").write_text(json.dumps(config))
        runtime = {"HEADGATE_RUNTIME_DIR": str(folder / "run"), "HEADGATE_STATE_DIR": str(folder / "state")}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(HEADGATE), "run", str(folder / "gate.json")],
                stdout=log,
                stderr=log,
                env=os.environ | runtime,
            )
        try:
            eventually((folder / "acme" / "wanted").is_dir, (folder / "log").read_text, within=60)
            return [first_handshake(secure, f"n{number}.customer.test") for number in range(count)]
        except SystemExit:
            print((folder / "log").read_text(), file=sys.stderr)
            raise
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def first_handshake(port: int, name: str) -> float:
    """The seconds of one."""
    begun = time.monotonic()
    found = shown(port, name)
    took = time.monotonic() - begun
    if names_of(found) != [name]:
        raise SystemExit(f"{name} got no certificate")
    return took


if __name__ == "__main__":
    main()
