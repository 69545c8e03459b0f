import json
from pathlib import Path
from typing import Any

import pytest

from headgate.compile.order import compile_gateway
from headgate.config import ConfigError
from headgate.control.messages import ProxyArguments
from headgate.worker import proxying
from headgate.worker.loaded import compiled


def test_prepared_file_is_what_the_model_makes() -> None:
    assert Path(proxying.PREPARED).read_text() == proxying.prepare(), (
        "run `python -m headgate.worker.proxying`"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ProxyArguments(listen=":8080", to=["localhost:9000"]),
        ProxyArguments(listen="8080", to=["http://example.org", "[::1]:81"], access_log="json"),
        ProxyArguments(listen="unix:/run/x.sock", to=["unix:/run/app.sock"], access_log="combined"),
    ],
)
def test_quick_way_equals_the_model(arguments: ProxyArguments) -> None:
    quick, whole = proxying.quick(arguments), compiled(proxying.gateway(arguments))
    assert quick is not None
    assert json.loads(quick.snapshot) == json.loads(whole.snapshot)
    assert quick.listeners == whole.listeners
    apart: dict[str, Any] = {"snapshot": "", "listeners": [], "refused": ConfigError}
    apart |= {"hooks": (), "startup": (), "shutdown": (), "places": {}}
    assert quick._replace(**apart) == whole._replace(**apart)


@pytest.mark.parametrize(
    "special", [{"to": ["a:1 weight=2"]}, {"to": ["https://a"]}, {"access_log": "{client} {status}"}]
)
def test_quick_way_leaves_the_rest_to_the_model(special: dict[str, Any]) -> None:
    arguments = ProxyArguments(**{"listen": ":8080", "to": ["a:1"], **special})
    assert proxying.quick(arguments) is None
    assert compiled(proxying.gateway(arguments)).snapshot


@pytest.mark.parametrize("wrong", [{"listen": "nowhere"}, {"to": ["ftp://example.org"]}, {"to": ["x"]}])
def test_both_ways_refuse_wrong_addresses(wrong: dict[str, Any]) -> None:
    arguments = ProxyArguments(**{"listen": ":8080", "to": ["a:1"], **wrong})
    with pytest.raises(ConfigError):
        proxying.quick(arguments)
    with pytest.raises(ConfigError):
        compile_gateway(proxying.gateway(arguments))
