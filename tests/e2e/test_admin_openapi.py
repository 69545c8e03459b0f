"""The OpenAPI document says what the Admin API does: schemathesis asks for everything in it, well and badly formed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import RunningGateway, Serve, free_port
from e2e.kit.admin import Admin

from headgate.admin.openapi import openapi

TOKEN = "a-token-for-schemathesis-0123456789"
EXAMPLES = os.environ.get("HEADGATE_EXAMPLES", "6")
SETTINGS = """
[checks]
# well formed, but not what a configuration can say: 422 and 412 have their words for that
positive_data_acceptance.expected-statuses = ["2xx", 304, 401, 403, 404, 409, 410, 412, 422]
# what others have done meanwhile may be said first
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 410, 412, 415, 422, 428, 429]
"""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def gateway(
    serve_module: Serve, tmp_path_factory: pytest.TempPathFactory, port: int
) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("state")
    yield serve_module(
        {
            "admin": {"listen": f"127.0.0.1:{port}", "tokens": TOKEN},
            "state_folder": str(folder),
            "routes": [{"path": "/", "respond": "here"}],
        }
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_schemathesis_finds_no_fault(gateway: RunningGateway, port: int, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"http://127.0.0.1:{port}/openapi.json"),
        *("--header", f"Authorization: Bearer {TOKEN}", "--max-examples", EXAMPLES, "--seed", "1"),
        *("--exclude-path", "/v1/profile"),  # which takes as long as it is told to
        *("--checks", "all", "--exclude-checks", "ignored_auth", "--no-color", "--continue-on-failure"),
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    assert "Traceback" not in gateway.log()


def test_every_path_of_the_document_wants_a_token(gateway: RunningGateway, port: int) -> None:
    for path, item in openapi()["paths"].items():
        for method in item.keys() - {"parameters"}:
            response = Admin(f"127.0.0.1:{port}").ask(method.upper(), path.replace("{name}", "x"), {})
            assert response.status == 401, (method, path)
