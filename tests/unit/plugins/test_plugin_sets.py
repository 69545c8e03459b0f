"""Sets of plugins: on routes, listeners, consumers and groups that name them, and where their own `on` says."""

from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Plugin, PluginContext, Request, Response, ResponseView
from headgate.compile.loading import load
from headgate.compile.order import compile_gateway
from headgate.plugins import KeyAuth, Quota
from headgate.testing import TestGateway

TEXT = """
listeners: ":8080"
plugins: [key-auth]
plugin_sets:
  strict: {plugin: headers, on: /marked, config: {response: {set: {x-strict: "yes"}}}}
  counted:
    plugins: [{plugin: quota, config: {amount: 3, period: year, by: '="all"'}}]
    on: /counted/*
consumers:
  alice: {keys: alice-key, groups: [gold, staff]}
  bob: {keys: bob-key, groups: silver, plugin_sets: strict}
  carol: {keys: carol-key}
consumer_groups:
  gold: {labels: {plan: large, seats: "5"}, plugin_sets: strict}
  staff: {labels: {plan: small}}
routes:
  - {path: /counted/*, respond: counted}
  - {path: /named, respond: named, plugin_sets: [strict]}
  - {path: /, respond: plain}
"""


class Mark(Plugin):
    made = 0

    def setup(self, context: PluginContext) -> None:
        self._name = context.name
        type(self).made += 1

    def response(self, request: Request, response: ResponseView) -> None:
        response.headers["x-marked"] = self._name


def ask(gateway: TestGateway, path: str, who: str) -> Any:
    return gateway.get(path, {"x-api-key": f"{who}-key"})


def test_a_set_is_used_where_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(TEXT)
    with TestGateway(load(file)) as gateway:
        marked = {
            (path, who): ask(gateway, path, who).headers.get("x-strict")
            for path in ("/named", "/marked", "/other")
            for who in ("alice", "bob", "carol")
        }
        assert [key for key, value in marked.items() if value is None] == [("/other", "carol")]
        statuses = [ask(gateway, "/counted/x", who).status for who in ("alice", "bob", "carol", "alice")]
        assert statuses == [200, 200, 200, 429]
    known = load(file)
    compile_gateway(known)
    assert (alice := known.background.consumers.named("alice"))
    assert dict(alice.labels) == {"plan": "large", "seats": "5"}


def test_a_set_of_python_is_made_once_and_has_its_name() -> None:
    gate = Gateway()
    gate.listen(":8080", name="public", plugin_sets="marks")
    gate.plugin_set("marks", Mark(), on=["/a", "/b"])
    gate.plugin_set("idle", Mark())
    gate.route("/", respond="x", plugin_sets="marks")
    made = Mark.made
    with TestGateway(gate) as gateway:
        assert [gateway.get(path).headers["x-marked"] for path in ("/a", "/b", "/c")] == ["marks.mark"] * 3
    assert Mark.made == made == 2
    assert [one.plugins[0].on for one in gate.config.plugin_sets.values()] == [None, None]


@pytest.mark.parametrize(
    ("by", "statuses"), [("consumer", [200, 200, 429, 200]), ('="g"', [200, 200, 429, 429])]
)
def test_a_quota_is_of_each_consumer_of_a_group_or_of_the_whole_group(by: str, statuses: list[int]) -> None:
    gate = Gateway()
    gate.listen(":8080")
    gate.consumer("alice", keys="alice-key", groups="gold")
    gate.consumer("bob", keys="bob-key", groups="gold")
    gate.consumer("carol", keys="carol-key")
    gate.use(KeyAuth())
    gate.use(Quota(amount=2, period="year", by=by), on="group:gold")
    gate.route("/", respond="in")
    with TestGateway(gate) as gateway:
        assert [ask(gateway, "/", who).status for who in ("alice", "alice", "alice", "bob")] == statuses
        assert [ask(gateway, "/", "carol").status for _ in range(4)] == [200] * 4


def test_a_group_that_nobody_is_in_gets_nothing() -> None:
    class Refuse(Plugin):
        def request(self, request: Request) -> Response:
            return Response(403)

    gate = Gateway()
    gate.listen(":8080")
    gate.use(KeyAuth(keys={"guest": "guest-key"}))
    gate.use(Refuse(), on="group:staff")
    gate.route("/", respond="in")
    with TestGateway(gate) as gateway:
        assert ask(gateway, "/", "guest").status == 200


@pytest.mark.parametrize(
    ("change", "message", "line"),
    [
        (("[strict]}", "[strikt]}"), "there is no plugin set `strikt`", 18),
        (
            ("plugin_sets: strict}\n  carol", "plugin_sets: nope}\n  carol"),
            "there is no plugin set `nope`",
            11,
        ),
        (("plugin: quota,", "plugin: quota, on: /x,"), "a plugin of a set has `on`", 6),
        (("on: /counted/*", "on: nothing"), "there is no route, upstream or listener `nothing`", 8),
        (("strict: {", "str ict: {"), "`str ict` is not a valid name of a plugin set", 5),
        (("plugin: quota", "plugin: quote"), "there is no plugin `quote`", 7),
    ],
)
def test_what_does_not_fit_is_refused_with_its_line(
    tmp_path: Path, change: tuple[str, str], message: str, line: int
) -> None:
    file = tmp_path / "gate.yaml"
    assert change[0] in TEXT
    file.write_text(TEXT.replace(*change))
    with pytest.raises(ConfigError) as refused:
        compile_gateway(load(file))
    assert message in refused.value.message
    assert refused.value.line == line and refused.value.hint
