"""The ASGI application mounted in the gateway."""

import os

from asgi_app import app

from headgate import Gateway

gate = Gateway()
gate.listen(os.environ.get("BENCH_ASGI", "127.0.0.1:22024"))
gate.mount("/", app)
