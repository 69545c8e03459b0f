"""Wrong tokens: an address that shows too many waits, others do not, and what is remembered is bounded."""

from headgate.admin.access import GUESSES, GUESSES_PER_S, MOST_ADDRESSES, Failures, network_of


def test_an_address_waits_after_too_many_and_then_no_more() -> None:
    now = [0.0]
    failures = Failures(lambda: now[0])
    for _ in range(GUESSES - 1):
        failures.add("a")
    assert failures.wait_s("a") == 0
    failures.add("a")
    assert failures.wait_s("a") == 1 / GUESSES_PER_S and failures.wait_s("b") == 0
    now[0] += 1 / GUESSES_PER_S
    assert failures.wait_s("a") == 0


def test_the_oldest_address_is_forgotten_first() -> None:
    failures = Failures(lambda: 0.0)
    for _ in range(2 * GUESSES):
        failures.add("first")
    for number in range(MOST_ADDRESSES):
        failures.add(str(number))
    assert failures.wait_s("first") == 0 and len(failures._levels) == MOST_ADDRESSES


def test_addresses_that_one_host_may_have_count_together() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1:2:3") != network_of("2001:db8:0:1::1")
    assert [network_of(one) for one in ("10.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0")] == [
        "10.0.0.1",
        "10.0.0.1",
        "fe80::/64",
    ]
