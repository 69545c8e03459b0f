"""The order in which requests are handed out."""

import random

from headgate.dispatch.waiting import Waiting


def taken(waiting: Waiting[str], count: int) -> list[str]:
    return [item for _ in range(count) if (item := waiting.take()) is not None]


def test_requests_of_one_caller_keep_their_order() -> None:
    waiting: Waiting[str] = Waiting()
    for item in "abc":
        waiting.put(item, 3, "")
    assert taken(waiting, 4) == ["a", "b", "c"]


def test_higher_priority_goes_first() -> None:
    waiting: Waiting[str] = Waiting()
    waiting.put("late", 5, "")
    waiting.put("usual", 3, "")
    waiting.put("urgent", 0, "")
    assert taken(waiting, 3) == ["urgent", "usual", "late"]


def test_returned_request_goes_before_those_of_its_caller() -> None:
    waiting: Waiting[str] = Waiting()
    waiting.put("a", 3, "x")
    waiting.put("back", 3, "x", first=True)
    assert list(waiting) == ["back", "a"]
    assert taken(waiting, 2) == ["back", "a"]


def test_removed_request_is_not_handed_out() -> None:
    waiting: Waiting[str] = Waiting()
    waiting.put("a", 3, "")
    waiting.put("b", 3, "")
    assert waiting.remove("a")
    assert not waiting.remove("a")
    assert len(waiting) == 1
    assert taken(waiting, 2) == ["b"]


def test_caller_with_many_requests_does_not_hold_up_another() -> None:
    waiting: Waiting[str] = Waiting()
    for number in range(100):
        waiting.put(f"many-{number}", 3, "many")
    waiting.put("few-0", 3, "few")
    waiting.put("few-1", 3, "few")
    order = []
    for _ in range(6):
        item = waiting.take()
        assert item is not None
        waiting.begun(item.partition("-")[0])
        order.append(item)
    assert {"few-0", "few-1"} < set(order)


def test_callers_get_equal_time_whatever_their_requests_cost() -> None:
    """Requests of 5 s beside requests of 5 ms: the bound of deficit round robin is a quantum and a request's cost."""
    waiting: Waiting[tuple[str, int]] = Waiting()
    cost = {"long": 5.0, "short": 0.005}
    used = dict.fromkeys(cost, 0.0)
    number = 0
    for caller in cost:
        for _ in range(10):
            waiting.put((caller, number := number + 1), 3, caller)
    while used["long"] < 100:
        item = waiting.take()
        assert item is not None
        caller = item[0]
        used[caller] += cost[caller]
        waiting.done(caller, cost[caller], waiting.begun(caller))
        waiting.put((caller, number := number + 1), 3, caller)
    assert abs(used["long"] - used["short"]) <= 3 * cost["long"]


def test_nothing_is_lost_in_random_work() -> None:
    chance = random.Random(7)
    waiting: Waiting[int] = Waiting()
    callers: dict[int, str] = {}
    inside: set[int] = set()
    running: list[tuple[int, float]] = []
    for number in range(5000):
        match chance.randrange(4):
            case 0 | 1:
                callers[number] = f"caller-{chance.randrange(5)}"
                waiting.put(number, chance.randrange(3), callers[number])
                inside.add(number)
            case 2:
                item = waiting.take()
                assert (item is None) == (not inside)
                if item is not None:
                    inside.remove(item)
                    running.append((item, waiting.begun(callers[item])))
            case _:
                if running:
                    item, charged = running.pop()
                    waiting.done(callers[item], chance.expovariate(10), charged)
                elif inside:
                    gone = chance.choice(sorted(inside))
                    assert waiting.remove(gone)
                    inside.remove(gone)
        assert len(waiting) == len(inside)
    assert set(taken(waiting, len(inside))) == inside
