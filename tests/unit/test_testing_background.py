"""The test kit runs what a gateway does beside requests, on its own clock."""

from headgate import Gateway, Request, Response
from headgate.testing import TestGateway


def test_timers_follow_the_tests_clock_and_dictionaries_are_its_own() -> None:
    gate = Gateway()
    gate.listen(":8080")
    counters = gate.shared("counters", "16k")

    @gate.every("1h", once_per="node")
    def hourly() -> None:
        counters.incr("hours")

    @gate.route("/")
    def hours(request: Request) -> Response:
        return Response.json([counters.get("hours", 0), gate.is_leader])

    for _ in range(2):  # the same gateway, twice
        counters.flush_all()
        with TestGateway(gate) as gateway:
            assert gateway.get("/").json() == [0, True]
            for hour in range(1, 4):
                gateway.advance("1h")
                gateway.until(lambda wanted=hour: counters.get("hours", 0) == wanted)  # type: ignore[misc]
