"""10,000 routes: 1,000 hosts with 10 prefixes each."""

import os

from headgate import Gateway

gate = Gateway()
gate.listen(os.environ.get("BENCH_ROUTES", "127.0.0.1:22011"))
origin = gate.upstream("origin", os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))
for host in range(1000):
    for prefix in range(10):
        gate.route(f"/r{prefix}/*", host=f"h{host}.example.test", to=origin)
