"""Root is given up, and with it all capabilities but the one that is asked for."""

import os
import re
from pathlib import Path

import pytest

from headgate.worker.privileges import become

NET_ADMIN = 1 << 12


def effective(process: str = "self") -> int:
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"^CapEff:\s*([0-9a-f]+)$", status, re.M)
    assert found is not None
    return int(found[1], 16)


def effective_after(user: str, *, keep_net_admin: bool) -> tuple[int, int]:
    """Capabilities and user id of a process that has become `user`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become(user, None, keep_net_admin=keep_net_admin)
            os.write(writing, f"{effective():x} {os.getuid()}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading) as told:
        capabilities, uid = told.read().split()
    os.waitpid(child, 0)
    return int(capabilities, 16), int(uid)


needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not effective() & NET_ADMIN, reason="needs root with CAP_NET_ADMIN"
)


@needs_root
def test_a_user_has_no_capabilities() -> None:
    assert effective_after("nobody", keep_net_admin=False) == (0, 65534)


@needs_root
def test_the_capability_that_is_asked_for_is_the_only_one_that_is_kept() -> None:
    assert effective_after("nobody", keep_net_admin=True) == (NET_ADMIN, 65534)
