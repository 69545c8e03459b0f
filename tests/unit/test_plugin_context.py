"""What a plugin gets besides requests, when it runs, and how it is named."""

import logging
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from headgate import ConfigError, Gateway, Plugin, PluginContext, Request
from headgate.compile.loading import load
from headgate.compile.order import compile_gateway
from headgate.plugins import KeyAuth
from headgate.testing import TestGateway


class Notes(Plugin):
    """Notes what happens to it."""

    def __init__(self, **settings: Any) -> None:
        self.seen: list[str] = []
        super().__init__(**settings)

    def setup(self, context: PluginContext) -> None:
        self.context = context
        self.seen.append("setup")

    async def startup(self) -> None:
        self.seen.append("startup")

    def shutdown(self) -> None:
        self.seen.append("shutdown")

    async def close(self) -> None:
        self.seen.append("close")

    def request(self, request: Request) -> None:
        self.seen.append("request")


def gateway(*plugins: Plugin, **use: Any) -> Gateway:
    gate = Gateway()
    gate.route("/", respond="in")
    for plugin in plugins:
        gate.use(plugin, **use)
    return gate


def test_its_life_in_order() -> None:
    plugin = Notes()
    assert plugin.seen == []
    gate = gateway(plugin)
    gate.use(plugin, on="/other")
    with TestGateway(gate) as running:
        running.get("/")
    assert plugin.seen == ["setup", "startup", "request", "shutdown", "close"]


def test_plugins_close_after_all_that_shuts_down() -> None:
    gate, seen = Gateway(), list[str]()

    class Closes(Plugin):
        def close(self) -> None:
            seen.append("close")

    gate.route("/", respond="in")
    gate.use(Closes())
    gate.shutdown(lambda: seen.append("shutdown"))
    with TestGateway(gate):
        pass
    assert seen == ["shutdown", "close"]


def test_names_are_their_own() -> None:
    plugins = [Notes(), Notes(), Notes()]
    gate = gateway(*plugins[:2])
    gate.use(plugins[2], name="third")
    assert [plugin.context.name for plugin in plugins] == ["notes", "notes-2", "third"]


def test_dictionaries_and_counters_are_a_plugins_own() -> None:
    one, two = Notes(), Notes()
    gateway(one, two)
    one.context.shared("x", "64k").set("key", 1)
    assert two.context.shared("x", "64k").get("key") is None
    one.context.counter("n").add(2)
    one.context.counter("n").add()
    assert (one.context.counter("n").value, two.context.counter("n").value) == (3, 0)
    with pytest.raises(ValueError, match="a counter can only increase"):
        one.context.counter("n").add(-1)


def test_its_log_carries_its_name(caplog: pytest.LogCaptureFixture) -> None:
    plugin = Notes()
    gateway(plugin)
    with caplog.at_level(logging.INFO, "headgate.plugin"):
        plugin.context.log.info("something", extra={"fact": 1})
    record = vars(caplog.records[0])
    assert (record["plugin"], record["fact"], record["message"]) == ("notes", 1, "something")


def test_its_timers_and_tasks_run() -> None:
    seen: list[str] = []

    class Busy(Plugin):
        def setup(self, context: PluginContext) -> None:
            self._context_of_mine = context
            context.every(5, self._tick)

        async def startup(self) -> None:
            self._context_of_mine.spawn(self._work())

        async def _work(self) -> None:
            seen.append(await self._context_of_mine.run_in_thread(str.upper, "worked"))

        def _tick(self) -> None:
            seen.append("ticked")

    with TestGateway(gateway(Busy())) as running:
        running.until(lambda: seen)
        running.advance(5.1)
        running.until(lambda: len(seen) == 2)
    assert seen == ["WORKED", "ticked"]


def test_fields_of_identity_never_come_from_clients() -> None:
    class Says(Plugin):
        def setup(self, context: PluginContext) -> None:
            context.remove_from_clients("X-User", "x_group")

    gate, seen = gateway(Says()), list[list[str]]()
    gate.rewrite(lambda request: seen.append(list(request.headers)))
    with TestGateway(gate) as running:
        running.get("/", [("X-USER", "a"), ("x_user", "b"), ("X-Group", "c"), ("x-users", "d")])
    assert [name for name in seen[0] if name.startswith("x")] == ["x-users"]


def test_order_decides_then_use() -> None:
    class First(Notes):
        order = -5

    class Second(Notes): ...

    class Third(Notes): ...

    gate = gateway(Third(), order=1)
    gate.use(Second())
    gate.use(First())
    names = [hook.name for hook in compile_gateway(gate).hooks if hook.phase == "request"]
    assert names == ["First.request", "Second.request", "Third.request"]


def test_a_plugin_of_another_gateway_is_refused() -> None:
    plugin = Notes()
    gateway(plugin)
    with pytest.raises(ConfigError, match="belongs to another gateway"):
        gateway(plugin)


def test_setup_without_a_context_runs_when_the_plugin_is_made() -> None:
    class Plain(Plugin):
        def setup(self) -> None:  # type: ignore[override]
            self.ready = True

    assert Plain().ready


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        ("async def setup(self, context): ...", "`setup` of plugin `P` is async", "connect in"),
        ("def setup(self, a, b): ...", "takes `(self, a, b)`", "write `def setup(self, context)`"),
        ("def close(self, why): ...", "takes `(self, why)`", "write `def close(self)`"),
        ("def clse(self): ...", "`clse` of plugin `P`", "did you mean `close`?"),
    ],
)
def test_a_life_that_cannot_be_is_refused(body: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as refused:
        exec(f"class P(Plugin):\n    {body}\n", {"Plugin": Plugin})
    assert message in refused.value.message
    assert (refused.value.hint or "").startswith(hint)


def document(folder: Path, plugin: str) -> Path:
    file = folder / "gate.yaml"
    file.write_text(f"routes: [{{path: /, respond: in}}]\nplugins:\n  - {plugin}\n")
    return file


def test_short_names_in_files(tmp_path: Path) -> None:
    file = document(tmp_path, "{plugin: key-auth, name: keys, order: 7, config: {keys: {a: k}}}")
    use = load(file)._parts.plugins[0]
    assert isinstance(use.plugin, KeyAuth)
    assert use.plugin._headgate_context and use.plugin._headgate_context.name == "keys"
    assert use.config.order == 7


def test_an_unknown_short_name_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(document(tmp_path, "plugin: key-aut"))
    assert (refused.value.message, refused.value.line) == ("there is no plugin `key-aut`", 3)
    assert refused.value.hint == "did you mean `key-auth`?"


def test_settings_that_a_plugin_refuses_are_told_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(document(tmp_path, "{plugin: key-auth, config: {keys: {a: k, b: k}}}"))
    assert refused.value.line == 3
    assert refused.value.message == "consumers `a` and `b` have the same key"


def test_packages_declare_plugins_by_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "geo_plugin.py").write_text("from headgate import Plugin\nclass Geo(Plugin): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = EntryPoint("geo-block", "geo_plugin:Geo", "headgate.plugins")
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: [entry] * (group == "headgate.plugins")
    )
    use = load(document(tmp_path, "plugin: geo-block"))._parts.plugins[0]
    assert type(use.plugin).__name__ == "Geo"
    with pytest.raises(ConfigError) as refused:
        load(document(tmp_path, "plugin: geo-blok"))
    assert refused.value.hint == "did you mean `geo-block`?"
    del sys.modules["geo_plugin"]


@pytest.mark.parametrize("way", ["raise SystemExit(0)", "raise ValueError('no')", "raise MemoryError"])
def test_a_plugin_that_cannot_be_set_up_refuses_the_file(tmp_path: Path, way: str) -> None:
    text = f"from headgate import Plugin\nclass P(Plugin):\n    def setup(self, context): {way}\n"
    (tmp_path / "fails_at_setup.py").write_text(text)
    with pytest.raises(ConfigError, match="cannot be set up: ") as refused:
        load(document(tmp_path, "plugin: fails_at_setup:P"))
    assert refused.value.line == 3
    (tmp_path / "gate.py").write_text(
        "from headgate import Gateway\nfrom fails_at_setup import P\ngate = Gateway()\ngate.use(P())\n"
    )
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "gate.py")
    assert Path(refused.value.file or "").name == "fails_at_setup.py"
    del sys.modules["fails_at_setup"]
