"""Shadows: what differs between the client's response and the copy's is counted and told."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Response
from headgate.message import ResponseHeaders
from headgate.plugins import Mirror, Shadow
from headgate.plugins._services import Service
from headgate.testing import TestGateway

SERVER = "server.test:80"
OURS = {"content-type": "text/plain", "location": "/a"}


class Copied:
    """The response to a copy."""

    def __init__(self, status: int, headers: dict[str, str], *chunks: bytes) -> None:
        self.status, self.headers, self._chunks = status, headers, chunks

    async def stream(self) -> AsyncIterator[bytes]:
        """Its body."""
        for chunk in self._chunks:
            yield chunk


def shadowed(
    copied: Copied, *, count: int = 1, body: bytes = b"hello", method: str = "GET", **config: Any
) -> Shadow:
    """The plugin after so many requests."""
    plugin, gate = Shadow(to="http://shadow.test", **config), Gateway()
    gate.route("/", to=SERVER)
    gate.use(plugin)

    async def fetch(url: str, **_: Any) -> Copied:
        return copied

    plugin._context.fetch = fetch  # type: ignore[assignment, method-assign]
    with TestGateway(gate, upstreams={SERVER: lambda _: Response(200, body, headers=OURS)}) as gateway:
        for _ in range(count):
            assert gateway.request(method, "/x?q=1").status == 200
        gateway.until(lambda: plugin._sent.value == count)
        return plugin


def test_responses_that_are_equal_are_counted_as_such() -> None:
    plugin = shadowed(Copied(200, OURS, b"he", b"llo"))
    assert (plugin._equal.value, plugin._differing.value) == (1, 0)


@pytest.mark.parametrize(
    ("copied", "what"),
    [
        (Copied(500, OURS, b"hello"), "status"),
        (Copied(200, {**OURS, "location": "/b"}, b"hello"), "location"),
        (Copied(200, {"content-type": "text/plain"}, b"hello"), "location"),
        (Copied(200, OURS, b"hallo"), "body"),
        (Copied(200, OURS, b"hello!"), "body"),
        (Copied(404, {}, b""), "status, content-type, location, body"),
    ],
)
def test_what_differs_is_counted_and_told(
    copied: Copied, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = shadowed(copied)
    assert (plugin._equal.value, plugin._differing.value) == (0, 1)
    (told,) = [one for one in caplog.records if one.getMessage().startswith("the shadow's response differs")]
    assert told.getMessage() == f"the shadow's response differs: {what}"
    assert vars(told)["target"] == "/x?q=1" and vars(told)["request_id"]


def test_what_is_not_compared_does_not_differ() -> None:
    copied = Copied(500, {}, b"other")
    settings = {"compare_status": False, "compare_headers": [], "compare_body": False}
    assert shadowed(copied, **settings)._equal.value == 1


def test_bodies_past_the_bound_are_not_compared() -> None:
    bound = {"max_response_bytes": 5, "compare_headers": []}
    assert shadowed(Copied(200, {}, b"hell", b"o!"), **bound)._equal.value == 1
    assert shadowed(Copied(200, {}, b"hallo"), **bound)._differing.value == 1


def test_a_head_has_no_body_to_compare() -> None:
    assert shadowed(Copied(200, OURS), method="HEAD")._equal.value == 1


def test_the_log_is_not_flooded(caplog: pytest.LogCaptureFixture) -> None:
    plugin = shadowed(Copied(500, OURS, b"hello"), count=20)
    assert plugin._differing.value == 20
    assert sum("differs" in one.getMessage() for one in caplog.records) == 1


def test_a_shadow_that_is_away_differs_in_nothing() -> None:
    plugin, gate = Shadow(to="http://127.0.0.1:1"), Gateway()
    gate.route("/", to=SERVER)
    gate.use(plugin)
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        assert gateway.get("/").text == "ok"
        gateway.until(lambda: plugin._failed.value == 1)
    assert plugin._differing.value == plugin._equal.value == 0


@pytest.mark.parametrize("kind", [Mirror, Shadow])
@pytest.mark.parametrize(
    "to", ["http://", "a:80", "http://a b", "http://a\n", "http://u:p@a", "http://a?x", "ftp://a"]
)
def test_what_is_no_place_for_copies_is_refused(kind: Any, to: str) -> None:
    with pytest.raises(ConfigError, match="not a valid URL"):
        Gateway().use(kind(to=to))


def test_what_has_no_path_is_not_copied() -> None:
    plugin, gate = Shadow(to="http://127.0.0.1"), Gateway()
    gate.route("/", to=SERVER)
    gate.use(plugin)
    with TestGateway(gate, upstreams={SERVER: "ok"}):
        for target, is_copied in (
            ("/a", True),
            ("*", False),
            ("@evil.test/", False),
            (".evil.test:1", False),
        ):
            state = SimpleNamespace()
            asked: Any = SimpleNamespace(
                headers=ResponseHeaders(),
                target=target,
                method="OPTIONS",
                host="a",
                state=state,
                scheme="http",
                client=SimpleNamespace(address="192.0.2.1"),
                has_body=False,
            )
            plugin.request(asked)
            assert bool(vars(state)) == is_copied


async def test_what_has_no_path_is_no_part_of_a_services_host() -> None:
    asked: list[str] = []

    async def fetch(url: str, **_: Any) -> Any:
        asked.append(url)
        raise OSError

    log = SimpleNamespace(error=lambda *_, **__: None)
    context: Any = SimpleNamespace(fetch=fetch, log=log, counter=lambda _: SimpleNamespace(add=lambda: None))
    service = Service(context, "http://auth.test", timeout=1, max_body_bytes=1)
    for target in ("/a", "*", "@evil.test/"):
        assert await service.ask(target=target) is None
    assert asked == ["http://auth.test/a", "http://auth.test/*", "http://auth.test/@evil.test/"]
