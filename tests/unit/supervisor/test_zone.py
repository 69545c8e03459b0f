import os
from collections.abc import Iterator

import pytest

from headgate import _core
from headgate.supervisor import zone


@pytest.fixture
def slots() -> Iterator[zone.ZoneSlots]:
    made = zone.ZoneSlots(workers=1)
    yield made
    os.close(made.descriptor)


def test_slots_are_handed_out_once_and_again_after_their_user_is_gone(slots: zone.ZoneSlots) -> None:
    taken = [slots.take() for _ in range(slots.size)]
    assert sorted(filter(None, taken)) == list(range(1, slots.size)) and slots.take() is None
    slots.clear(3)
    assert slots.take() == 3


def test_descriptor_is_not_inherited(slots: zone.ZoneSlots) -> None:
    assert not os.get_inheritable(slots.descriptor)


def test_what_a_dead_worker_counted_is_kept_and_what_it_had_is_not(
    slots: zone.ZoneSlots, monkeypatch: pytest.MonkeyPatch
) -> None:
    # while it is cleared, others count on
    monkeypatch.setattr(_core, "zone_stats", lambda fd: {"requests": 9, "requests_active": 1})
    monkeypatch.setattr(_core, "clear_slot", lambda fd, slot: {"requests": 4, "requests_active": 1})
    slots.clear(0)
    assert slots.counters() == {"requests": 13, "requests_active": 1}


def test_cleared_slot_tells_what_it_held(slots: zone.ZoneSlots) -> None:
    assert set(_core.clear_slot(slots.descriptor, 0)) == set(_core.zone_stats(slots.descriptor))
