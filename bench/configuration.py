"""What a large configuration costs: CPU seconds and peak memory of `headgate check` and of a worker that loads it.

Needs a built module: .venv/bin/python bench/configuration.py [ROUTES...]   (default: 20000 and 100000)
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

LOAD = """
import sys
from headgate import _core
from headgate.worker.source import load
_core.check(load({"file": sys.argv[1]}).snapshot)
"""


def configuration(routes: int) -> str:
    """A YAML file as an ingress controller would write it: hosts, paths, parameters, upstreams of two servers."""
    groups = max(1, routes // 100)
    lines = ['listeners: ":8080"', "upstreams:"]
    for group in range(groups):
        network, host = divmod(group, 250)
        lines.append(f'  up{group}: ["10.0.{network}.{host + 1}:9000", "10.1.{network}.{host + 1}:9000"]')
    lines.append("routes:")
    for number in range(routes):
        tail = ("*", "{id}", "items", "{id}/sub/*")[number % 4]
        lines.append(f'  - path: "/api/v{number % 7}/service{number}/{tail}"')
        lines.append(f"    host: h{number % 500}.example.com")
        lines.append(f"    to: up{number % groups}")
        if number % 4 == 1:
            lines.append("    methods: [GET, POST]")
        if number % 4 == 3:
            lines.append("    strip_prefix: /api")
    return "\n".join(lines) + "\n"


def cost(command: list[str]) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of one process."""
    # the first run compiles the sources, as an installation does
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Prints a table; three runs of each, the best of them."""
    commands = {
        "check": [str(Path(sys.executable).parent / "headgate"), "check"],
        "load in a worker": [sys.executable, "-c", LOAD],
    }
    print("| routes | | CPU s | peak MB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for routes in [int(text) for text in sys.argv[1:]] or [20_000, 100_000]:
            file = Path(folder) / f"{routes}.yaml"
            file.write_text(configuration(routes))
            for name, command in commands.items():
                seconds, memory = min(cost([*command, str(file)]) for _ in range(3))
                print(f"| {routes} | {name} | {seconds:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
