import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headgate.control.messages import BoundListener
from headgate.supervisor.listeners import BindError, Listeners
from headgate.supervisor.settings import REUSEPORT, SHARED


@pytest.fixture
def listeners() -> Iterator[Callable[[str], Listeners]]:
    """Makes listeners that are closed at the end."""
    made: list[Listeners] = []

    def make(mode: str = REUSEPORT) -> Listeners:
        made.append(Listeners(mode))
        return made[-1]

    yield make
    for one in made:
        one.close()


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_port_0_reports_the_port_that_was_chosen(listeners: Callable[..., Listeners]) -> None:
    one = listeners()
    one.open(["127.0.0.1:0"])
    (address,) = one.bound()
    assert port_of(address) > 0
    socket.create_connection(("127.0.0.1", port_of(address)), 2).close()


def test_reuseport_gives_each_slot_its_own_socket_of_one_port(listeners: Callable[..., Listeners]) -> None:
    one = listeners(REUSEPORT)
    one.open(["127.0.0.1:0"])
    first, second = (one.lend(["127.0.0.1:0"], slot, 2) for slot in (0, 1))
    assert first[0] == second[0] == [BoundListener(name="127.0.0.1:0", address=one.bound()[0])]
    assert first[1] != second[1]
    assert one.lend(["127.0.0.1:0"], 1, 2) == second, "a restarted worker gets the socket of its slot again"


def test_shared_mode_gives_all_slots_one_socket(listeners: Callable[..., Listeners]) -> None:
    one = listeners(SHARED)
    one.open(["127.0.0.1:0"])
    assert one.lend(["127.0.0.1:0"], 0, 2)[1] == one.lend(["127.0.0.1:0"], 1, 2)[1]


def test_no_host_means_both_families_on_one_port(listeners: Callable[..., Listeners]) -> None:
    one = listeners()
    one.open([":0"])
    bound = one.bound()
    assert bound[0].startswith("0.0.0.0:")
    if socket.has_ipv6 and len(bound) > 1:
        assert bound[1] == f"[::]:{port_of(bound[0])}"


def test_port_of_another_gateway_is_refused_in_both_modes(listeners: Callable[..., Listeners]) -> None:
    first = listeners()
    first.open(["127.0.0.1:0"])
    taken = first.bound()[0]
    for mode in (REUSEPORT, SHARED):
        with pytest.raises(BindError, match=r"address already in use\n  hint: another program"):
            listeners(mode).open([taken])


def test_failure_closes_what_was_bound_with_it(listeners: Callable[..., Listeners]) -> None:
    one, other = listeners(), listeners()
    other.open(["127.0.0.1:0"])
    with pytest.raises(BindError):
        one.open(["127.0.0.1:0", other.bound()[0]])
    assert one.bound() == []


def test_unix_socket_is_bound_lent_and_removed(listeners: Callable[..., Listeners], tmp_path: Path) -> None:
    path = tmp_path / "gate.sock"
    one = listeners()
    one.open([f"unix:{path}"])
    assert one.lend([f"unix:{path}"], 0, 2)[1] == one.lend([f"unix:{path}"], 1, 2)[1]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    one.close()
    assert not path.exists()


def test_stale_unix_socket_is_replaced(listeners: Callable[..., Listeners], tmp_path: Path) -> None:
    path = tmp_path / "gate.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    one = listeners()
    one.open([f"unix:{path}"])
    assert one.bound() == [f"unix:{path}"]


def test_unix_socket_in_use_is_refused(listeners: Callable[..., Listeners], tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'gate.sock'}"
    listeners().open([address])
    with pytest.raises(BindError, match="address already in use"):
        listeners().open([address])


def test_file_that_is_no_socket_is_left_alone(listeners: Callable[..., Listeners], tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(BindError, match="not a socket exists at this path"):
        listeners().open([f"unix:{path}"])
    assert path.read_text() == "data"


def test_sockets_pass_to_a_successor_with_fewer_workers(listeners: Callable[..., Listeners]) -> None:
    old, new = listeners(), listeners()
    old.open(["127.0.0.1:0"])
    for slot in range(3):
        old.lend(["127.0.0.1:0"], slot, 3)
    inherited = {
        text: [[os.dup(number) for number in numbers] for numbers in endpoints]
        for text, endpoints in old.descriptors().items()
    }
    new.inherit(inherited)
    new.open(["127.0.0.1:0"])
    assert new.bound() == old.bound()
    lent = [new.lend(["127.0.0.1:0"], slot, 2)[1] for slot in (0, 1)]
    assert [len(numbers) for numbers in lent] == [2, 1], "no socket is left without a worker"


def test_successor_keeps_the_socket_file(listeners: Callable[..., Listeners], tmp_path: Path) -> None:
    path = tmp_path / "gate.sock"
    one = listeners()
    one.open([f"unix:{path}"])
    one.close(keep_socket_files=True)
    assert path.exists()


def test_addresses_no_longer_wanted_are_closed(listeners: Callable[..., Listeners]) -> None:
    one = listeners()
    one.open(["127.0.0.1:0"])
    port = port_of(one.bound()[0])
    one.keep_only([])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 2)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_unix_socket_has_the_mode_that_is_asked_for(
    listeners: Callable[..., Listeners], tmp_path: Path, mode: int
) -> None:
    one, address = listeners(), f"unix:{tmp_path}/x.sock"
    one.open([address], {address: mode})
    assert (tmp_path / "x.sock").stat().st_mode & 0o777 == mode
    one.open([address], {address: 0o644})
    assert (tmp_path / "x.sock").stat().st_mode & 0o777 == 0o644, "a reload may change it"


def test_a_listener_of_our_own_is_named_as_what_is_in_the_way(listeners: Callable[..., Listeners]) -> None:
    one = listeners()
    one.open(["127.0.0.1:0"])
    port = port_of(one.bound()[0])
    other = listeners()
    with pytest.raises(BindError, match="another program listens there"):
        other.open([f"127.0.0.1:{port}"])
    one.keep_only([])
    one.open([f"127.0.0.1:{port}"])
    with pytest.raises(
        BindError, match=rf"this gateway has it already, for its listener `127\.0\.0\.1:{port}`"
    ):
        one.open([f":{port}"])
