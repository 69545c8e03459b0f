"""Which cryptographic module is in use, and the demand for the FIPS one. True of both builds."""

import json

import pytest
from e2e.kit import RunningGateway, Serve

from headgate import _core

NAME, IS_FIPS = _core.tls_module()
SAID = f"tls module={NAME} fips={str(IS_FIPS).lower()}"
PLAIN = (
    "from headgate import Gateway\ngate = Gateway()\ngate.listen(LISTEN)\ngate.route('/', respond='fine')\n"
)

fips_only = pytest.mark.skipif(not IS_FIPS, reason="this build has not the FIPS module")
plain_only = pytest.mark.skipif(IS_FIPS, reason="this build has the FIPS module")


def serves(gateway: RunningGateway) -> bool:
    return gateway.get("/").text == "fine"


def test_start_and_version_say_which_module_it_is(serve: Serve) -> None:
    gateway = serve(PLAIN, workers=2)
    assert gateway.log().count(SAID) == 1
    assert SAID in gateway.cli("version").stdout
    assert gateway.ask("reload")["ok"]
    assert gateway.log().count(SAID) == 1, "said again only if it were another one"


def test_log_as_json_has_the_facts(serve: Serve) -> None:
    gateway = serve(PLAIN, arguments=["--log-format", "json"])
    (said,) = [
        line
        for line in map(json.loads, gateway.log().splitlines())
        if line["message"] == f"tls module={NAME}"
    ]
    assert said["fips"] is IS_FIPS


@plain_only
def test_demand_of_the_configuration_is_refused_by_another_module(serve: Serve) -> None:
    source = PLAIN + "gate.tls(require_fips=True)\n"
    gateway = serve(source, is_ready=False)
    assert gateway.process.wait(20) == 2
    assert SAID in gateway.log() and "feature `fips`" in gateway.log()
    checked = gateway.cli("check", gateway.file.name)
    assert checked.returncode == 2 and "not the FIPS one" in checked.stderr


@plain_only
def test_demand_of_the_command_line_is_refused_by_another_module(serve: Serve) -> None:
    gateway = serve(PLAIN, arguments=["--require-fips"], is_ready=False)
    assert gateway.process.wait(20) == 2
    assert "not the FIPS one" in gateway.log()


@plain_only
def test_reload_that_demands_it_leaves_the_old_in_force(serve: Serve) -> None:
    gateway = serve(PLAIN)
    gateway.write(PLAIN + "gate.tls(require_fips=True)\n")
    response = gateway.ask("reload")
    assert not response["ok"] and "not the FIPS one" in response["error"]
    assert serves(gateway)


@fips_only
def test_demand_is_met_by_the_module(serve: Serve) -> None:
    gateway = serve(PLAIN + "gate.tls(require_fips=True)\n", arguments=["--require-fips"])
    assert serves(gateway)
