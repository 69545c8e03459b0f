"""Breakpoints in a gateway that runs: set from the command line, in every worker, seen by no request."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from e2e.kit import HEADGATE, RunningGateway, Serve, eventually

GATE = """
import asyncio, os
from headgate import Gateway, Response

gate = Gateway()
gate.listen(LISTEN)

def price(amount, rate=2):
    total = amount * rate
    return total            # line PRICE

@gate.route("/price/{amount}")
def tell_price(request):
    return Response.text(f"{os.getpid()} {price(int(request.params['amount']))}")

async def deeper(name):
    await asyncio.sleep(0)
    greeting = "hello " + name
    return greeting         # line GREETING

@gate.route("/greet/{name}")
async def greet(request):
    one, two = await asyncio.gather(deeper(request.params["name"]), deeper("you"))
    return Response.text(f"{one}, {two}")

"""


def line_of(mark: str, gateway: RunningGateway) -> int:
    """The number of the line with this mark in the gateway's file."""
    return next(
        n for n, text in enumerate(gateway.file.read_text().splitlines(), 1) if f"line {mark}" in text
    )


@pytest.fixture(scope="module")
def gateway(serve_module: Serve) -> RunningGateway:
    return serve_module(GATE, workers=2)


@contextmanager
def inspecting(gateway: RunningGateway, *arguments: str) -> Iterator["Inspector"]:
    """Runs `headgate inspect` until the block ends; begins when it looks."""
    process = subprocess.Popen(
        [str(HEADGATE), "inspect", *arguments, "--json"],
        cwd=gateway.folder,
        env={**gateway.environment, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout and process.stderr
        first = process.stderr.readline()
        assert first.startswith("inspecting"), first + process.stderr.read()
        try:
            yield Inspector(process)
        finally:
            process.terminate()


class Inspector:
    """What a `headgate inspect` prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def hit(self) -> dict[str, Any]:
        """The next line."""
        assert self.process.stdout
        line: dict[str, Any] = json.loads(self.process.stdout.readline())
        return line

    def rest(self) -> list[dict[str, Any]]:
        """The lines until it ends by itself."""
        assert self.process.stdout
        return [json.loads(line) for line in self.process.stdout]


def test_function_is_looked_at_in_every_worker(gateway: RunningGateway) -> None:
    with inspecting(gateway, "gate:price", "--count", "0") as inspector:
        seen: set[int] = set()

        def both() -> bool:
            pid, price = gateway.get("/price/21").text.split()
            assert price == "42"
            line = inspector.hit()
            assert line["hit"]["values"] == {"amount": "21", "rate": "2"}
            assert line["hit"]["request"]["target"] == "/price/21"
            assert line["worker"] == int(pid)
            seen.add(int(pid))
            return len(seen) == 2

        eventually(both, "both workers have told")


def test_line_with_a_condition_and_expressions(gateway: RunningGateway) -> None:
    at = f"gate.py:{line_of('PRICE', gateway)}"
    options = (
        "--if",
        "total > 50 and request.method == 'GET'",
        "--show",
        "total - 1",
        "--show",
        "request.path",
    )
    with inspecting(gateway, at, *options, "--count", "1") as inspector:
        for amount in (3, 30, 4, 40):
            gateway.get(f"/price/{amount}")
        (line,) = inspector.rest()
        assert line["hit"]["values"] == {"total - 1": "59", "request.path": "'/price/30'"}


def test_task_of_a_hook_knows_its_request(gateway: RunningGateway) -> None:
    at = f"gate.py:{line_of('GREETING', gateway)}"
    with inspecting(gateway, at, "--if", "name == 'you'", "--show", "greeting", "--count", "1") as inspector:
        assert gateway.get("/greet/Ada").text == "hello Ada, hello you"
        (line,) = inspector.rest()
        assert line["hit"]["values"] == {"greeting": "'hello you'"}
        assert line["hit"]["request"]["target"] == "/greet/Ada"


def test_decorated_hook_is_found_by_its_name(gateway: RunningGateway) -> None:
    with inspecting(gateway, "gate.py:greet", "--count", "1", "--show", "request.params") as inspector:
        gateway.get("/greet/Bo")
        assert inspector.rest()[0]["hit"]["values"] == {"request.params": "{'name': 'Bo'}"}


def test_handler_sees_locals_and_request(gateway: RunningGateway) -> None:
    handler = gateway.folder / "looks.py"
    handler.write_text(
        "def on_hit(hit):\n    return (hit.function, hit.request.path, hit.locals['amount'])\n"
    )
    with inspecting(gateway, "gate:price", "--handler", "looks:on_hit", "--count", "1") as inspector:
        gateway.get("/price/7")
        assert inspector.rest()[0]["hit"]["handler"] == "('price', '/price/7', 7)"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--if", "nope"), "NameError"),
        (("--if", "1 / 0"), "ZeroDivisionError"),
        (("--if", "exit(3)"), "SystemExit"),
        (("--show", "amount.nope", "--count", "1"), "AttributeError"),
        (("--show", "[][1]", "--count", "1"), "IndexError"),
    ],
)
def test_what_raises_harms_no_request(gateway: RunningGateway, options: tuple[str, ...], told: str) -> None:
    with inspecting(gateway, "gate:price", *options) as inspector:
        assert gateway.get("/price/4").text.split()[1] == "8"
        hit = inspector.hit()["hit"]
        assert told in str(hit["values"] if "--show" in options else hit["error"])
        assert gateway.get("/price/5").text.split()[1] == "10"
    assert len(gateway.workers) == 2


def test_breakpoint_is_gone_when_the_command_ends(gateway: RunningGateway) -> None:
    with inspecting(gateway, "gate:price", "--count", "0") as inspector:
        gateway.get("/price/1")
        inspector.hit()
    # 16 may run at once: if those that ended were still there, this would be refused
    for _ in range(18):
        with inspecting(gateway, "gate:price"):
            pass
    with inspecting(gateway, "gate:price", "--for", "1s") as inspector:
        assert inspector.rest() == []


def test_worker_that_starts_meanwhile_looks_too(gateway: RunningGateway) -> None:
    with inspecting(gateway, "gate:price", "--count", "0") as inspector:
        old = set(gateway.workers)
        gateway.file.write_text(f"{gateway.file.read_text()}\n# a change of code\n")
        assert gateway.cli("reload").returncode == 0
        eventually(lambda: not old & set(gateway.workers), "all workers are new")

        def told() -> bool:
            pid = int(gateway.get("/price/2").text.split()[0])
            return inspector.hit()["worker"] == pid and pid not in old

        eventually(told, "a new worker tells")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("gate:prise",), "did you mean `price`?"),
        (("gate.py:1",), "hint: line"),
        (("nowhere.py:3",), "no module of file `nowhere.py` is loaded"),
        (("gate:price", "--if", "1 +"), "is not a valid expression"),
        (("gate:price", "--handler", "gone:away"), "there is no handler `gone:away`"),
        (("gate:price", "--for", "2h"), "is not within"),
        (("price",), "is not a valid place"),
    ],
)
def test_bad_orders_are_refused(gateway: RunningGateway, arguments: tuple[str, ...], told: str) -> None:
    refused = gateway.cli("inspect", *arguments)
    assert refused.returncode in (1, 2)
    assert told in refused.stderr, refused.stderr


def test_a_file_without_functions_is_not_taken_for_a_misspelt_name(serve: Serve) -> None:
    plain = serve(
        'from headgate import Gateway\ngate = Gateway()\ngate.listen(LISTEN)\ngate.route("/", respond="x")\n'
    )
    refused = plain.cli("inspect", "gate.py:2").stderr
    assert "`gate.py` has no functions" in refused and "did you mean" not in refused


def test_what_the_inspection_itself_calls_can_be_looked_at(gateway: RunningGateway) -> None:
    looked = gateway.cli("inspect", "json:dumps", "--count", "1", "--json")
    assert looked.returncode == 0, looked.stderr
    assert looked.stderr.startswith("inspecting ") and looked.stderr.endswith("1 hits, ended by count\n")
    assert '"function": "dumps"' in looked.stdout


def test_hits_print_for_people(gateway: RunningGateway) -> None:
    process = subprocess.Popen(
        [str(HEADGATE), "inspect", "gate:price", "--count", "1"],
        env={**gateway.environment, "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr and process.stdout
        process.stderr.readline()
        gateway.get("/price/8")
        printed = process.stdout.read()
        assert "gate.py:" in printed and "in price  GET /price/8" in printed
        assert "  amount = 8\n  rate   = 2\n" in printed
        assert "1 hits, ended by count" in process.stderr.read()


def test_a_flood_of_hits_holds_nobody_up(gateway: RunningGateway) -> None:
    with inspecting(gateway, "gate:price", "--count", "0") as inspector:
        with gateway.client() as client:
            for _ in range(500):
                assert client.get("/price/1").status == 200
        inspector.hit()
