"""The access log on, in nginx's combined format, buffered as by default."""

import os
import tempfile
from pathlib import Path

from headgate import Gateway

lab = Path(os.environ.get("HEADGATE_LAB", tempfile.gettempdir()))
gate = Gateway()
gate.listen(os.environ.get("BENCH_LOG", "127.0.0.1:22014"))
gate.access_log("combined", to=f"file:{lab}/headgate-access.log")
gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))
