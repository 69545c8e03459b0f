"""The same as log.py, on a port of its own, to be set beside a peer that buffers too."""

import os
import tempfile
from pathlib import Path

from headgate import Gateway

lab = Path(os.environ.get("HEADGATE_LAB", tempfile.gettempdir()))
gate = Gateway()
gate.listen(os.environ.get("BENCH_LOGBUF", "127.0.0.1:22015"))
gate.access_log("combined", to=f"file:{lab}/headgate-access-buffered.log")
gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))
