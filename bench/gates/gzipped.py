"""The plugin `compression` at level BENCH_GZIP, or without it where that is `none`; see bench/gzip_json.py."""

import os

from headgate import Gateway
from headgate.plugins import Compression

gate = Gateway()
gate.listen(os.environ.get("BENCH_GZIP_AT", "127.0.0.1:22050"))
gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))
level = os.environ.get("BENCH_GZIP", "6")
if level != "none":
    gate.use(Compression(levels={"gzip": int(level)}))
