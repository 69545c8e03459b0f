"""From results of checks to states: how many are needed, and what becomes of a server that flaps."""

from headgate.monitor.judge import STEADY_CHECKS, Judge


def results(judge: Judge, text: str) -> str:
    """The states after each result: `+` passed, `-` failed; `U` up, `D` down, in lower case where nothing changed."""
    found = ""
    for one in text:
        is_changed = judge.came(one == "+")
        letter = judge.state[0]
        found += letter.upper() if is_changed else letter
    return found


def test_first_result_decides_alone() -> None:
    assert results(Judge(3, 3), "+") == "U"
    assert results(Judge(3, 3), "-") == "D"


def test_so_many_in_a_row_change_the_state_and_one_between_them_begins_anew() -> None:
    judge = Judge(rise=2, fall=3, state="up")
    assert results(judge, "--+---") == "uuuuuD"
    assert results(judge, "+-++") == "dddU"


def test_state_that_was_known_before_needs_as_many_as_ever() -> None:
    assert results(Judge(2, 3, "down"), "+") == "d"
    assert results(Judge(2, 3, "up"), "-") == "u"


def test_server_that_flaps_needs_more_each_time_up_to_eight_times_as_many() -> None:
    judge = Judge(rise=1, fall=1, state="up")
    needed = []
    for _ in range(6):
        judge.came(False)
        count = 1
        while not judge.came(True):
            count += 1
        needed.append(count)
    assert needed == [1, 2, 4, 8, 8, 8]


def test_server_that_stays_up_is_forgiven() -> None:
    judge = Judge(rise=1, fall=1, state="up")
    results(judge, "-+-")
    assert judge.rise == 2
    results(judge, "++" + "+" * STEADY_CHECKS)
    assert judge.rise == 1
    assert results(judge, "-+") == "DU"
