"""How long to wait before a worker is replaced: a pure function of how often it has ended lately."""

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 10.0
HEALTHY_AFTER_S = 30.0


def restart_delay_s(exits: int) -> float:
    """Seconds to wait before the restart after the `exits`-th exit in a row: 0.1, 0.2, 0.4 ... at most
    10."""
    if exits <= 0:
        return 0.0
    return float(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(exits - 1, 16)))


def exits_in_a_row(before: int, lived_s: float) -> int:
    """The count after one more exit: a worker that lived 30 s was healthy, so the row starts anew."""
    return 1 if lived_s >= HEALTHY_AFTER_S else before + 1
