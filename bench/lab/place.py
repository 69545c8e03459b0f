"""Where the lab keeps its files, and the ports of the origin, with and without TLS, and of Redis."""

import os
import tempfile
from pathlib import Path

LAB = Path(os.environ.get("HEADGATE_LAB") or Path(tempfile.gettempdir()) / "headgate-lab")
RUN = LAB / "run"
PEERS_VENV = LAB / "peers"  # Envoy, Caddy and Traefik from PyPI, if somebody installed them here
TEMPLATES = Path(__file__).resolve().parent / "peers"
ORIGIN, SECURE_ORIGIN, REDIS = 21000, 21001, 21099
GATEWAY_CPU, LOAD_CPU = 0, 1
