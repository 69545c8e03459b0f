"""The examples that fetch do what they say, against a real origin."""

from pathlib import Path

import pytest
from e2e.kit import Origin, Serve
from e2e.kit.behaviours import reply

EXAMPLES = Path(__file__).parents[2] / "examples"


def start(serve: Serve, name: str, **environment: str):  # type: ignore[no-untyped-def]
    """Runs an example on the kit's address."""
    text = "import os; os.environ['LISTEN'] = LISTEN\n" + (EXAMPLES / name).read_text()
    return serve(text, environment=environment)


@pytest.mark.parametrize("name", ["follow_redirects.py", "cached_feed.py", "fan_out.py"])
def test_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= 50


def test_redirects_are_followed_for_the_client(serve: Serve, origin: Origin) -> None:
    origin.on("/old", reply(status="302 Found", fields=[("Location", "/new")]))
    origin.on("/new", reply(b"here", fields=[("X-Kept", "yes"), ("Set-Cookie", "a=b")]))
    origin.on("/away", reply(status="302 Found", fields=[("Location", "http://elsewhere.test/")]))
    gateway = start(serve, "follow_redirects.py", ORIGIN=str(origin.address))
    response = gateway.get("/old")
    assert (response.status, response.body, response.get("x-kept"), response.get("set-cookie")) == (
        200,
        b"here",
        "yes",
        None,
    )
    assert gateway.get("/away").status == 302


def test_feed_is_filtered_and_kept(serve: Serve, origin: Origin) -> None:
    origin.on("/feed.json", reply(b'{"items": [{"id": 1, "price": 5, "secret": 2}, {"id": 2, "price": 0}]}'))
    gateway = start(serve, "cached_feed.py", FEED=f"http://{origin.address}/feed.json")
    assert [gateway.get("/sale").json() for _ in range(3)] == [[{"id": 1, "price": 5}]] * 3
    assert len(origin.at("/feed.json")) == 1


def test_responses_are_joined_and_failures_named(serve: Serve, origin: Origin) -> None:
    origin.on("/orders", reply(status="500 Broken"))
    gateway = start(serve, "fan_out.py", ORIGIN=str(origin.address))
    overview = gateway.get("/overview").json()
    assert overview["users"]["target"] == "/users"
    assert overview["orders"] == {"error": 500}
    assert len({call.get("x-request-id") for call in origin.calls}) == 1
