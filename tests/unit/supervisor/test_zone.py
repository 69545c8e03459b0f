import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate import _core
from headgate.supervisor import zone

EMPTY = json.loads((Path(__file__).parents[3] / "crates/engine/src/empty_snapshot.json").read_text())


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


def test_what_a_dead_worker_counted_is_kept_and_what_it_had_is_not(slots: zone.ZoneSlots) -> None:
    slots.take()
    core = _core.Core(None)
    core.zone(slots.descriptor, 0)
    core.apply(json.dumps(EMPTY), [])
    core.count("requests")
    core.count("requests_active")
    assert (slots.counters()["requests"], slots.counters()["requests_active"]) == (1, 1)
    slots.clear(0)
    assert (slots.counters()["requests"], slots.counters()["requests_active"]) == (1, 0)
