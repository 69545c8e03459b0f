"""No hook, all defaults: Python is never entered."""

import os

from headgate import Gateway

gate = Gateway()
gate.listen(os.environ.get("BENCH_PLAIN", "127.0.0.1:22010"))
gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))
