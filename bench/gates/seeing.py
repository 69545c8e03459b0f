"""What is watched in one way or another: `SEEING` says how, `SEEING_LISTEN` where, `SEEING_ROUTES` how many routes."""

import os
import tempfile
from pathlib import Path

from headgate import Gateway

how = os.environ.get("SEEING", "off")
routes = int(os.environ.get("SEEING_ROUTES", "0"))
origin = os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000")
lab = Path(os.environ.get("HEADGATE_LAB", tempfile.gettempdir()))
gate = Gateway()
gate.listen(os.environ.get("SEEING_LISTEN", "127.0.0.1:22040"))
if how in ("on", "watched"):
    gate.metrics(listen=os.environ.get("SEEING_METRICS", "127.0.0.1:22049"))
if how == "on":
    gate.access_log("combined", to=f"file:{lab}/headgate-seeing.log")
if how == "watched":
    gate.admin(os.environ["SEEING_ADMIN"], tokens=os.environ["SEEING_TOKEN"])
    gate.state_folder(os.environ["SEEING_STATE"])
if how.startswith("traced"):
    gate.tracing(os.environ["SEEING_COLLECTOR"], sample=how.partition(" ")[2])
upstreams = [gate.upstream(f"upstream-{number}", origin) for number in range(10 if routes else 0)]
for number in range(routes):
    name = f"service-{number}"
    gate.route(f"/{name}/*", to=upstreams[number % 10], name=name, strip_prefix=f"/{name}")
gate.route("/", to=origin, name="rest")
