"""Sticky sessions as time goes on."""

from collections.abc import Callable

from headgate import Gateway
from headgate.testing import TestGateway, TestResponse

Start = Callable[..., TestGateway]


def two_servers() -> Gateway:
    gate = Gateway()
    app = gate.upstream(
        "app",
        "10.0.0.1:9000",
        "10.0.0.2:9000",
        balance="sticky",
        sticky={"ttl": "1h", "balance": "round_robin"},
    )
    gate.route("/", to=app)
    return gate


def cookie_of(response: TestResponse) -> str | None:
    told = response.headers.get("set-cookie")
    return told.partition(";")[0] if told else None


def test_cookie_is_renewed_when_half_of_its_time_is_over_and_expires(headgate_gateway: Start) -> None:
    gateway = headgate_gateway(two_servers(), upstreams={"app": "ok"})

    def ask(cookie: str | None) -> tuple[str, str | None]:
        response = gateway.get("/", {"cookie": cookie} if cookie else {})
        return response.attempts[-1].server, cookie_of(response)

    server, first = ask(None)
    assert first is not None
    gateway.advance("29m")
    assert ask(first) == (server, None)
    gateway.advance("2m")
    again, second = ask(first)
    assert again == server and second not in (None, first)
    gateway.advance("28m")
    assert ask(first)[0] == server and ask(second) == (server, None)
    gateway.advance("2m")
    assert ask(second)[0] == server
    assert ask(first)[1] is not None, "it has expired"
