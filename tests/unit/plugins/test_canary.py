"""Canaries: who gets the new version, when it goes on, and what takes it back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate import ConfigError, Gateway, Response
from headgate.plugins import Canary, KeyAuth, TrafficSplit
from headgate.plugins._rollouts import FACTOR, Limits, Numbers, bucket_of, judged
from headgate.testing import TestGateway

LIMITS = Limits(requests=50, failure_percent=1, percentile=95, time_s=None, time_ratio=2)


def taking(seconds: float, count: int = 100, failures: int = 0) -> Numbers:
    return Numbers(count, failures, {bucket_of(seconds): count})


# ---- the decision


@given(st.floats(0.001, 60))
def test_an_estimate_is_at_most_a_third_too_high(seconds: float) -> None:
    estimate = taking(seconds).time_s(95)
    assert estimate is not None and seconds * 0.9999 <= estimate <= seconds * FACTOR * 1.0001


def test_percentiles_are_those_of_all_requests() -> None:
    numbers = Numbers(100, 0, {bucket_of(0.005): 94, bucket_of(1): 6})
    assert numbers.time_s(50) == pytest.approx(0.005, rel=0.31)
    assert numbers.time_s(95) == pytest.approx(1, rel=0.31)
    assert Numbers().time_s(95) is None


@pytest.mark.parametrize(
    ("canary", "baseline", "verdict"),
    [
        (Numbers(), taking(0.01), "unknown"),
        (taking(0.01, 49, failures=49), taking(0.01), "unknown"),
        (taking(0.01), taking(0.01), "good"),
        (taking(0.01, failures=1), taking(0.01), "good"),
        (taking(0.01, failures=2), taking(0.01), None),
        (taking(0.01, failures=6), taking(0.01, failures=5), "good"),
        (taking(0.01, failures=7), taking(0.01, failures=5), None),
        (taking(0.01, failures=2), taking(0.01, 10, failures=10), None),
        (taking(0.1), taking(0.01), None),
        (taking(0.1), taking(0.01, 10), "good"),
        (Numbers(100, 100), Numbers(), None),
    ],
)
def test_a_canary_is_judged_by_its_own_numbers_beside_the_baselines(
    canary: Numbers, baseline: Numbers, verdict: str | None
) -> None:
    found, reason = judged(canary, baseline, LIMITS)
    assert found == verdict and bool(reason) == (verdict is None)


def test_a_greatest_time_needs_no_baseline() -> None:
    limits = Limits(requests=1, failure_percent=1, percentile=95, time_s=0.5, time_ratio=None)
    assert judged(taking(1), Numbers(), limits)[0] is None
    assert judged(taking(0.2), taking(0.001), limits)[0] == "good"


# ---- the plugin


class Rollout:
    """A gateway with a canary, whose clock and servers a test controls."""

    def __init__(self, *, consumers: int = 0, **config: Any) -> None:
        self.now, self.status, self.seconds = 1000.0, 200, 0.0
        gate = Gateway()
        for n in range(consumers):
            gate.consumer(f"u{n}", keys=[f"key-of-{n}", f"second-key-of-{n}"])
        for name in ("old", "new"):
            gate.upstream(name, f"{name}.test:80")
        gate.route("/", to="old")
        self.plugin = Canary(**{"to": "new", "steps": [10, 50, 100], "requests": 5, "check": 3600, **config})
        gate.use(self.plugin)
        if consumers:
            gate.use(KeyAuth())
        self.plugin._clock = lambda: self.now
        self.gateway = TestGateway(gate, upstreams={"old": "old", "new": self.respond})

    def respond(self, received: Any) -> Response:
        """The canary's server."""
        self.now += self.seconds
        return Response(self.status, "new")

    def decide(self, later: float = 60) -> float:
        """The percentage after the next look."""
        self.now += later
        self.plugin._decide()
        return self.plugin._percent()


def sides(rollout: Rollout, count: int = 100) -> list[str]:
    return [
        "new" if "new" in rollout.gateway.get("/", {"x-user": f"u{n}"}).text else "old" for n in range(count)
    ]


def test_it_goes_on_step_by_step_and_nobody_goes_back() -> None:
    rollout = Rollout(by="header:x-user")
    with rollout.gateway:
        rollout.decide()
        first = sides(rollout)
        assert rollout.decide(later=59) == 10, "each step lasts its time"
        assert rollout.decide(later=1) == 50
        second = sides(rollout)
        assert rollout.decide() == 100
        third = sides(rollout)
        assert rollout.decide() == 100
    assert 2 <= first.count("new") <= 25 and 30 <= second.count("new") <= 70 and set(third) == {"new"}
    assert all(later == "new" for early, later in zip(first, second, strict=True) if early == "new")


def test_without_traffic_it_stays_where_it_is() -> None:
    rollout = Rollout()
    with rollout.gateway:
        assert [rollout.decide(3600) for _ in range(5)] == [10] * 5


@pytest.mark.parametrize("config", [{}, {"hold_at": 50}], ids=["on its way", "held"])
def test_failures_take_it_back_in_every_state_with_the_numbers_in_the_log(
    config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    rollout = Rollout(**config)
    with rollout.gateway, caplog.at_level("INFO", "headgate.plugin"):
        rollout.decide()
        sides(rollout, 200)
        assert rollout.decide() == 50
        if config:
            sides(rollout)
            assert rollout.decide() == 50, "it goes no further"
        rollout.status = 500
        sides(rollout)
        assert rollout.decide(later=1) == 0, "at once, not at the end of the step"
        assert set(sides(rollout)) == {"old"}
        rollout.status = 200
        assert rollout.decide(36000) == 0
    (told,) = [one for one in caplog.records if "rolled back" in one.getMessage()]
    facts = vars(told)
    assert facts["percent"] == 50 and facts["canary"]["failure_percent"] > 40
    assert facts["baseline"]["failure_percent"] == 0


def test_a_canary_that_has_all_requests_is_still_watched() -> None:
    rollout = Rollout(steps=[100])
    with rollout.gateway:
        rollout.decide()
        sides(rollout)
        assert rollout.decide() == 100
        rollout.status = 503
        sides(rollout)
        assert rollout.decide() == 0


def test_a_slow_canary_is_taken_back() -> None:
    rollout = Rollout(steps=[50, 100])
    with rollout.gateway:
        rollout.decide()
        rollout.seconds = 0.5
        sides(rollout)
        assert rollout.decide() == 0


def test_another_release_begins_anew() -> None:
    rollout = Rollout(steps=[100], release="v1")
    with rollout.gateway:
        rollout.decide()
        rollout.status = 500
        sides(rollout)
        assert rollout.decide() == 0
        rollout.plugin.config.release = "v2"
        assert rollout.decide() == 100


def test_some_are_always_and_some_never_on_the_new_side_until_it_is_taken_back() -> None:
    rollout = Rollout(
        by="{cookie:id}",
        always='request.headers["x-canary"] == "always"',
        never='request.headers["x-canary"] == "never"',
    )

    def side(choice: str, count: int = 60) -> set[str]:
        texts = (
            rollout.gateway.get("/", {"x-canary": choice, "cookie": f"id={n}"}).text for n in range(count)
        )
        return {"new" if "new" in one else "old" for one in texts}

    with rollout.gateway:
        rollout.decide()
        assert (side("always"), side("never"), side("other")) == ({"new"}, {"old"}, {"new", "old"})
        assert rollout.decide() == 50 and rollout.decide() == 50
        side("other")
        assert rollout.decide() == 100
        assert (side("never"), side("other")) == ({"old"}, {"new"})
        rollout.status = 500
        side("always")
        assert rollout.decide() == 0
        assert side("always") == {"old"}


def test_consumers_keep_their_side_whatever_key_they_come_with() -> None:
    rollout = Rollout(consumers=100, by="consumer")

    def found(key: str) -> list[bool]:
        responses = [rollout.gateway.get("/", {"x-api-key": key.format(n)}) for n in range(100)]
        assert {one.status for one in responses} == {200}
        return ["new" in one.text for one in responses]

    with rollout.gateway:
        rollout.decide()
        early = found("key-of-{}")
        assert found("second-key-of-{}") == early, "it is the consumer that counts"
        assert rollout.decide() == 50
        late = found("key-of-{}")
    assert 2 <= sum(early) <= 25 and 30 <= sum(late) <= 70
    assert all(later for first, later in zip(early, late, strict=True) if first), "nobody goes back"


def test_clients_with_a_cookie_or_a_field_keep_their_side_while_the_part_grows() -> None:
    for by, fields in (("{cookie:id}", "cookie"), ("header:x-user", "x-user")):
        rollout = Rollout(by=by)

        def found(key: str = fields, rollout: Rollout = rollout) -> list[bool]:
            texts = (rollout.gateway.get("/", {key: f"id=u{n}"}).text for n in range(100))
            return ["new" in one for one in texts]

        with rollout.gateway:
            rollout.decide()
            early = found()
            assert rollout.decide() == 50
            late = found()
        assert 2 <= sum(early) <= 25 and 30 <= sum(late) <= 70
        assert all(later for first, later in zip(early, late, strict=True) if first)


@pytest.mark.parametrize("text", ["request.path", "response.status == 200", "nonsense("])
def test_conditions_of_sides_are_about_the_request(text: str) -> None:
    for key in ("always", "never"):
        with pytest.raises(ConfigError):
            Gateway().use(Canary(to="new", **{key: text}))


def test_servers_are_told_their_side() -> None:
    rollout = Rollout(steps=[100], header="x-side", baseline="old")
    with rollout.gateway:
        rollout.gateway.get("/", {"x-side": "forged"})
        assert rollout.gateway.received[-1].headers["x-side"] == "canary"


def test_wrong_steps_are_refused() -> None:
    for steps in ([], [0, 10], [10, 5], [10, 10], [101]):
        with pytest.raises(ConfigError):
            Canary(to="new", steps=steps)


def test_two_splits_of_the_same_clients_are_independent() -> None:
    gate = Gateway()
    for name in ("old", "new"):
        gate.upstream(name, f"{name}.test:80")
    gate.route("/", to="old")
    parts = [{"upstream": "new"}, {"upstream": "old"}]
    gate.use(TrafficSplit(parts=parts, by="header:x-user", header="x-one"), name="one")
    gate.use(TrafficSplit(parts=parts, by="header:x-user", header="x-two"), name="two")
    with TestGateway(gate, upstreams={"old": "old", "new": "new"}) as gateway:
        for n in range(400):
            gateway.get("/", {"x-user": f"u{n}"})
        seen = [(one.headers["x-one"], one.headers["x-two"]) for one in gateway.received]
    for combination in (("new", "new"), ("new", "old"), ("old", "new"), ("old", "old")):
        assert 0.2 * 400 <= seen.count(combination) <= 0.3 * 400


@pytest.mark.parametrize("header", ["", "a b", "x\r\ny", "content-length", "Connection"])
def test_a_field_that_no_request_can_have_is_refused(header: str) -> None:
    with pytest.raises(ConfigError, match="hint"):
        Gateway().use(Canary(to="new", header=header))
