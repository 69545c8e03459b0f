"""What SRV records come to (RFC 2782)."""

from typing import Any

import pytest

from headgate.discovery.resolving import read_target
from headgate.discovery.services import servers_of, targets_of

HOSTS = {"a.": ["192.0.2.1"], "b.": ["192.0.2.2", "2001:db8::2"], "none.": []}


def server(address: str, weight: int = 1, backup: bool = False) -> dict[str, Any]:
    return {"address": address, "weight": weight, "backup": backup}


@pytest.mark.parametrize(
    ("records", "servers"),
    [
        (["0 0 0 ."], []),
        (["0 0 80 none."], []),
        (["0 0 80 a.", "0 0 81 a."], [server("192.0.2.1:80"), server("192.0.2.1:81")]),
        (
            ["0 60 80 a.", "0 20 80 b."],
            [server("192.0.2.2:80", 1), server("[2001:db8::2]:80", 1), server("192.0.2.1:80", 3)],
        ),
        (
            ["0 0 80 a.", "0 7 81 a."],
            [server("192.0.2.1:80", 1), server("192.0.2.1:81", 100)],
        ),
        (
            ["10 0 80 a.", "20 5 81 a.", "30 9 82 a."],
            [server("192.0.2.1:80"), server("192.0.2.1:81", 1, True), server("192.0.2.1:82", 1, True)],
        ),
        (["0 65535 80 a.", "0 1 81 a."], [server("192.0.2.1:81", 1), server("192.0.2.1:80", 100)]),
        (["0 0 80 a.", "1 0 80 a."], [server("192.0.2.1:80")]),
    ],
    ids=["absent", "without addresses", "ports", "weights", "weight 0", "priorities", "large", "twice"],
)
def test_records_become_servers(records: list[str], servers: list[dict[str, Any]]) -> None:
    targets = targets_of(map(read_target, records))
    assert servers_of(targets, HOSTS) == servers
    assert servers_of(reversed(targets), HOSTS) == servers, "their order does not matter"
