"""TLS ends here: a listener with an RSA certificate and one with P-256, both offer HTTP/2; else as plain.py."""

import os
from pathlib import Path

from headgate import Gateway

folder = Path(os.environ["HEADGATE_LAB"]) / "run"
gate = Gateway()
gate.listen(os.environ.get("BENCH_TLS", "127.0.0.1:22031"), tls=str(folder / "rsa.pem"))
gate.listen(os.environ.get("BENCH_EC", "127.0.0.1:22032"), tls=str(folder / "ec.pem"))
gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))
