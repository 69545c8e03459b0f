from headgate.supervisor.backoff import exits_in_a_row, restart_delay_s


def test_delay_doubles_from_a_tenth_of_a_second_to_ten() -> None:
    delays = [restart_delay_s(exits) for exits in range(1, 10)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_delay_stays_at_its_limit_after_any_number_of_exits() -> None:
    assert restart_delay_s(1_000_000) == 10.0


def test_row_of_exits_starts_anew_after_thirty_healthy_seconds() -> None:
    assert exits_in_a_row(before=7, lived_s=29.9) == 8
    assert exits_in_a_row(before=7, lived_s=30.0) == 1
