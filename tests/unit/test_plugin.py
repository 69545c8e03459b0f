"""Plugins: settings are checked when one is made, methods when its class is."""

from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from headgate import ConfigError, Plugin


class KeyAuth(Plugin):
    """The plugin of the tests."""

    class Config(BaseModel):
        """Its settings; the author forgot to forbid unknown ones."""

        header: str = "x-api-key"
        keys: dict[str, SecretStr]

    def setup(self) -> None:
        self.known = {key.get_secret_value() for key in self.config.keys.values()}

    def request(self, request: Any) -> None: ...

    async def log(self, request: Any, response: Any) -> None: ...


def test_settings_are_typed_and_ready_in_setup() -> None:
    plugin = KeyAuth(keys={"alice": "a"})
    assert plugin.config.header == "x-api-key"
    assert plugin.known == {"a"}


def test_phases_are_found_by_method_name() -> None:
    assert KeyAuth.phases == ("request", "log")
    assert type("Child", (KeyAuth,), {}).phases == ("request", "log")  # type: ignore[attr-defined]


def test_a_setting_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALICE_KEY", "from outside")
    assert KeyAuth(keys={"alice": "env:ALICE_KEY"}).known == {"from outside"}


def test_a_missing_variable_is_told_without_telling_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALICE_KEY", raising=False)
    with pytest.raises(ConfigError, match="`ALICE_KEY` is not set") as refused:
        KeyAuth(keys={"alice": "env:ALICE_KEY"})
    assert refused.value.file == __file__


def test_unknown_settings_are_refused_with_line_and_nearest_name() -> None:
    with pytest.raises(ConfigError) as refused:
        KeyAuth(keys={}, haeder="x")
    assert refused.value.message == "unknown key `haeder` in `KeyAuth`"
    assert refused.value.hint == "did you mean `header`?"
    assert refused.value.file == __file__


def refused_class(**members: Any) -> ConfigError:
    with pytest.raises(ConfigError) as refused:
        type("Wrong", (Plugin,), members)
    return refused.value


def test_a_misspelt_phase_is_refused_with_the_nearest() -> None:
    def requst(self: Any, request: Any) -> None: ...

    error = refused_class(requst=requst)
    assert error.hint == "did you mean `request`?"
    assert error.line == requst.__code__.co_firstlineno


def test_a_public_method_that_is_no_phase_is_refused() -> None:
    assert (
        refused_class(compute=lambda self: 1).hint
        == "a method that is not a hook begins with `_`: `_compute`"
    )


def test_a_wrong_signature_is_refused() -> None:
    def response(self: Any, request: Any) -> None: ...

    assert refused_class(response=response).hint == "write `def response(self, request, response)`"


def test_a_static_method_is_no_hook() -> None:
    assert "not a plain method" in refused_class(request=staticmethod(lambda request: None)).message


def test_private_methods_properties_and_classes_are_the_plugins_own() -> None:
    members: dict[str, Any] = {
        "_compute": lambda self: 1,
        "size": property(lambda self: 1),
        "Row": type("Row", (), {}),
    }
    assert type("Fine", (Plugin,), members).phases == ()  # type: ignore[attr-defined]


def test_a_plugin_without_settings_takes_none() -> None:
    class Bare(Plugin):
        def request(self, request: Any) -> None: ...

    Bare()
    with pytest.raises(ConfigError, match="unknown key `x`"):
        Bare(x=1)


def test_settings_that_are_no_model_are_refused() -> None:
    class Odd(Plugin):
        class Config:  # type: ignore[assignment]
            header = 1

    with pytest.raises(ConfigError, match="not a settings model"):
        Odd()
