"""Ways to choose a server: by hash of a part of the request, by time, and in order."""

import contextlib
from collections import Counter
from collections.abc import Iterator

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve, eventually
from e2e.kit.behaviours import hang, reply
from e2e.kit.client import format_request


@pytest.fixture
def quartet() -> Iterator[list[Origin]]:
    """Four servers."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Origin()) for _ in range(4)]


def balanced(serve: Serve, origins: list[Origin], *, options: str = "", **upstream: object) -> RunningGateway:
    servers = [f"{one.address} {options}".strip() for one in origins]
    return serve({"upstreams": {"u": {"servers": servers, **upstream}}, "routes": [{"to": "u"}]}, workers=1)


def asked(gateway: RunningGateway, requests: list[tuple[str, dict[str, str]]]) -> list[str]:
    """Who responds to requests for these targets with these fields."""
    with gateway.client() as client:
        return [client.get(target, list(headers.items())).json()["origin"] for target, headers in requests]


@pytest.mark.parametrize("algorithm", ["ring", "rendezvous", "maglev"])
@pytest.mark.parametrize(
    ("hash_on", "target", "header"),
    [
        ("header:X-User", "/who", "X-User"),
        ("cookie:user", "/who", "Cookie"),
        ("query:user", "/who?user={}", ""),
        ("uri", "/who?{}", ""),
    ],
)
def test_same_key_goes_to_the_same_server(
    serve: Serve, quartet: list[Origin], hash_on: str, target: str, header: str, algorithm: str
) -> None:
    gateway = balanced(serve, quartet, balance="hash", hash_on=hash_on, hash_algorithm=algorithm)

    def request(user: int) -> tuple[str, dict[str, str]]:
        said = f"a=b; user={user}" if header == "Cookie" else str(user)
        return target.format(user), {header: said} if header else {}

    first = asked(gateway, [request(user) for user in range(60)])
    assert len(set(first)) == 4
    assert asked(gateway, [request(user) for user in range(60)]) == first


def test_requests_without_the_key_are_spread(serve: Serve, quartet: list[Origin]) -> None:
    gateway = balanced(serve, quartet, balance="hash", hash_on="header:X-User")
    shares = Counter(asked(gateway, [("/who", {})] * 400))
    assert len(shares) == 4 and all(60 <= share <= 140 for share in shares.values()), shares


def test_source_is_hashed_by_default(serve: Serve, quartet: list[Origin]) -> None:
    gateway = balanced(serve, quartet, balance="hash", hash_bound=0)
    assert len(set(asked(gateway, [("/who", {})] * 20))) == 1


def test_hot_key_spills_over_unless_it_is_unbounded(serve: Serve, quartet: list[Origin]) -> None:
    for bound, most in ((1.25, 3), (0, 8)):  # 1.25 x 8 / 4 is 2.5
        gateway = balanced(serve, quartet, balance="hash", hash_on="uri", hash_bound=bound)
        for one in quartet:
            one.on(f"/hot{most}", hang)
        held = [RawClient(gateway.address) for _ in range(8)]
        for number, client in enumerate(held):
            client.send(format_request("GET", f"/hot{most}"))
            eventually(
                lambda number=number, most=most: (
                    sum(len(one.at(f"/hot{most}")) for one in quartet) == number + 1
                ),
                "the request is held",
            )
        assert max(len(one.at(f"/hot{most}")) for one in quartet) == most
        for client in held:
            client.close()


def test_first_fills_one_server_before_the_next(serve: Serve, quartet: list[Origin]) -> None:
    gateway = balanced(serve, quartet, options="max_connections=2", balance="first")
    assert set(asked(gateway, [("/who", {})] * 5)) == {quartet[0].address}
    for one in quartet:
        one.on("/hold", hang)
    held = [RawClient(gateway.address) for _ in range(5)]
    for number, client in enumerate(held):
        client.send(format_request("GET", "/hold"))
        eventually(
            lambda number=number: sum(len(one.at("/hold")) for one in quartet) == number + 1, "it is held"
        )
    assert [len(one.at("/hold")) for one in quartet] == [2, 2, 1, 0]
    for client in held:
        client.close()


@pytest.mark.parametrize("balance", ["least_time", "p2c"])
def test_server_that_fails_fast_attracts_nothing(serve: Serve, quartet: list[Origin], balance: str) -> None:
    gateway = balanced(serve, quartet, balance=balance, retries=0)
    quartet[0].on("/work", reply(b"no", status="500 Broken"))
    for one in quartet[1:]:
        one.on("/work", reply(b"yes"))
    with gateway.client() as client:
        statuses = Counter(client.get("/work").status for _ in range(200))
    assert statuses[500] <= 20, statuses
    assert all(one.at("/work") for one in quartet[1:])
