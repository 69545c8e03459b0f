"""Fixtures that the end-to-end and the conformance tests share: gateways, what is behind them, certificates."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from e2e.kit import Origin, Serve
from e2e.kit.pki import Authority
from e2e.kit.websocket import WebSocketServer


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    """An origin for all tests of a module."""
    with Origin() as server:
        yield server


@pytest.fixture(scope="module")
def websocket_server() -> Iterator[WebSocketServer]:
    """A server of WebSockets for all tests of a module."""
    with WebSocketServer() as server:
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the certificates of a module's tests."""
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(autouse=True)
def _fresh_records(request: pytest.FixtureRequest) -> None:
    """Each test sees only its own requests at the module's origin."""
    if "origin" in request.fixturenames:
        request.getfixturevalue("origin").clear()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts gateways that live as long as the test."""
    starter = Serve(tmp_path)
    yield starter
    starter.stop()


@pytest.fixture(scope="module")
def serve_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts gateways that live as long as the module's tests."""
    starter = Serve(tmp_path_factory.mktemp("module"))
    yield starter
    starter.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the gateways' logs to the report of a failed test."""
    report = yield
    if isinstance(item, pytest.Function) and report.failed:
        for value in item.funcargs.values():
            if isinstance(value, Serve) and value.gateways:
                report.sections.append(("log of the gateway", value.logs()))
    return report
