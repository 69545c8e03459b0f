"""Ten plugins at once on each request, or with BENCH_TEN=none the same gateway without them; see bench/ten.py."""

import os
from typing import Any

import headgate.plugins
from headgate import Gateway
from headgate.plugins import BUILT_IN

TEN: dict[str, dict[str, Any]] = {
    "cors": {"origins": ["https://a.example"]},
    "key-auth": {"keys": {"alice": "key"}},
    "rate-limit": {"rate": "1000000/h", "burst": 10**9},
    "ip-restriction": {"deny": ["192.0.2.0/24", "198.51.100.0/24"]},
    "ua-restriction": {"deny": ["curl", "wget", "~^python-requests/"]},
    "uri-blocker": {"block": ["/wp-admin", "/.git", r"~\.(bak|sql)$"]},
    "security-headers": {},
    "request-size": {"body": 1000, "target": 1000, "header_fields": 100},
    "request-id": {},
    "headers": {"request": {"set": {"x-a": "b"}, "remove": ["x-c"]}, "response": {"set": {"x-d": "e"}}},
}
"""Short names and settings."""

gate = Gateway()
gate.listen(os.environ.get("BENCH_TEN_AT", "127.0.0.1:22040"))
gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))
if os.environ.get("BENCH_TEN") != "none":
    for name, settings in TEN.items():
        gate.use(getattr(headgate.plugins, BUILT_IN[name].rpartition(":")[2])(**settings))
