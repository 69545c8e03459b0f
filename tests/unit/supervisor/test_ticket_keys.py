"""The keys of session tickets."""

from headgate.control.reactor import Reactor
from headgate.supervisor.ticket_keys import KEPT, KEY_BYTES, ROTATE_S, TicketKeys


def test_the_newest_leads_and_the_oldest_is_forgotten() -> None:
    told: list[list[str]] = []
    keys = TicketKeys(Reactor(), told.append)
    first = keys.in_hex()
    assert len(first) == 1 and len(bytes.fromhex(first[0])) == KEY_BYTES
    for _ in range(KEPT):
        keys.rotate()
    assert told[0][1:] == first and told[-1] == keys.in_hex()
    assert len(keys.in_hex()) == KEPT and first[0] not in keys.in_hex()


def test_a_successor_goes_on_where_its_predecessor_was() -> None:
    first = TicketKeys(Reactor(), lambda _: None)
    first.rotate()
    bequest = first.for_successor()
    assert 0 < bequest["rotate_in_s"] <= ROTATE_S
    reactor = Reactor()
    later = TicketKeys(reactor, lambda _: None, {**bequest, "rotate_in_s": 100.0})
    assert later.in_hex() == first.in_hex()
    assert later.for_successor()["rotate_in_s"] <= 100.0
