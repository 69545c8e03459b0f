"""The sockets of HTTP/3: beside those of TCP, one for each worker."""

import socket

import pytest

from headgate.supervisor.listeners import BindError, Listeners


def test_ports_are_those_of_the_listener_whatever_they_are() -> None:
    listeners = Listeners()
    listeners.open(["127.0.0.1:0", "http3:127.0.0.1:0"])
    tcp, udp = listeners.bound()
    assert udp == f"udp:{tcp}"
    listeners.close()


def test_a_chosen_port_that_is_taken_for_udp_is_another() -> None:
    listeners = Listeners()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match="address already in use"):
            listeners.open([f"127.0.0.1:{port}", f"http3:127.0.0.1:{port}"])
        assert listeners.bound() == []


def test_each_slot_has_its_own_and_stand_ins_take_none() -> None:
    listeners = Listeners("shared")
    listeners.open(["127.0.0.1:0", "http3:127.0.0.1:0"])
    names = ["127.0.0.1:0", "http3:127.0.0.1:0"]
    first, second = (listeners.lend(names, slot, 2)[1] for slot in range(2))
    assert first[0] == second[0]
    assert first[1] != second[1]
    assert [one.name for one in listeners.lend(names, 0, 2, is_own=True)[0]] == []
    listeners.close()
