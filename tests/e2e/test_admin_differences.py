"""Changes of routes reach workers as differences: they serve what they would serve if all had been told again."""

import os
import re
import signal
from pathlib import Path

import pytest
from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.admin import Admin

DEBUG = ("--log-level", "debug")
CODE = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
gate.admin(f"unix:{FOLDER}/admin.sock")
gate.state_folder(f"{FOLDER}/state")

@gate.response
def stamp(request, response):
    response.headers["x-hook"] = "ran"

gate.route("/file", respond="of the file")
"""


@pytest.fixture(params=["document", "code"])
def gateway(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> RunningGateway:
    if request.param == "code":
        return serve(CODE, names={"FOLDER": str(tmp_path)}, workers=2, arguments=DEBUG)
    document = {
        "admin": f"unix:{tmp_path}/admin.sock",
        "state_folder": str(tmp_path / "state"),
        "metrics": True,
        "routes": [{"path": "/file", "respond": "of the file"}],
    }
    return serve(document, workers=2, arguments=DEBUG)


@pytest.fixture
def admin(gateway: RunningGateway, tmp_path: Path) -> Admin:
    return Admin(f"unix:{tmp_path}/admin.sock")


def put(admin: Admin, name: str, path: str, text: str) -> None:
    response = admin.put(f"/v1/routes/{name}", {"path": path, "respond": text})
    assert response.status in (200, 201), response.body


def how_told(gateway: RunningGateway) -> list[str]:
    return re.findall(r"in force .*told=(\w+)", gateway.log())


def everywhere(gateway: RunningGateway, path: str) -> set[str]:
    """What the workers respond with, over many connections."""
    return {gateway.get(path).text for _ in range(12)}


def test_workers_serve_each_difference_at_once(gateway: RunningGateway, admin: Admin) -> None:
    workers = gateway.workers
    put(admin, "b", "/b", "first")
    put(admin, "a", "/a/*", "a")
    put(admin, "b", "/b", "second")
    assert everywhere(gateway, "/b") == {"second"} and everywhere(gateway, "/a/x") == {"a"}
    put(admin, "c", "/a/x", "c")
    assert admin.delete("/v1/routes/b").status == 204
    assert everywhere(gateway, "/a/x") == {"c"} and everywhere(gateway, "/a/y") == {"a"}
    assert {gateway.get("/b").status for _ in range(12)} == {404}
    assert everywhere(gateway, "/file") == {"of the file"}
    assert gateway.workers == workers
    # the first one tells workers by which name they know what differences are made to
    assert how_told(gateway) == ["whole", *["difference"] * 4]


def test_what_does_not_fit_a_message_is_told_whole(gateway: RunningGateway, admin: Admin) -> None:
    sizes = [10, 60_000, 70_000, 1_000_000, 20]
    for size in sizes:
        put(admin, "large", "/large", "x" * size)
        assert {len(text) for text in everywhere(gateway, "/large")} == {size}
    assert how_told(gateway) == ["whole", "difference", "whole", "whole", "difference"]


def test_a_new_worker_has_what_differs_and_is_told_the_whole_next(
    gateway: RunningGateway, admin: Admin
) -> None:
    put(admin, "a", "/a", "a")
    put(admin, "b", "/b", "b")
    before = gateway.workers
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len(set(gateway.workers) - set(before)) == 1, "a new worker serves")
    assert everywhere(gateway, "/b") == {"b"}
    put(admin, "b", "/b", "next")
    put(admin, "a", "/a", "last")
    assert everywhere(gateway, "/b") == {"next"} and everywhere(gateway, "/a") == {"last"}
    assert how_told(gateway) == ["whole", "difference", "whole", "difference"]


def test_a_new_agent_knows_all_differences(gateway: RunningGateway, admin: Admin) -> None:
    put(admin, "a", "/a", "a")
    put(admin, "b", "/b", "b")
    assert admin.delete("/v1/routes/a").status == 204
    os.kill(gateway.ask()["agent"], signal.SIGKILL)
    assert admin.get("/v1/routes/a").status == 404
    assert admin.get("/v1/routes/b").json() == {"path": "/b", "respond": "b"}
    put(admin, "b", "/b", "next")
    put(admin, "b", "/b", "last")
    assert everywhere(gateway, "/b") == {"last"}
    assert how_told(gateway)[-2:] == ["whole", "difference"]


def test_what_is_wrong_is_refused_as_ever_and_differences_go_on(
    gateway: RunningGateway, admin: Admin
) -> None:
    put(admin, "a", "/a", "a")
    put(admin, "a", "/a", "b")
    refused = admin.put("/v1/routes/bad", {"path": "/bad", "to": "missing"})
    assert refused.status == 422 and "there is no upstream `missing`" in refused.text
    tried = admin.put("/v1/routes/a?dry_run=true", {"path": "/a", "respond": "tried"})
    assert tried.status == 200
    assert everywhere(gateway, "/a") == {"b"}
    put(admin, "a", "/a", "c")
    assert everywhere(gateway, "/a") == {"c"} and gateway.get("/bad").status == 404
    assert how_told(gateway) == ["whole", "difference", "difference"]


def test_no_request_fails_while_routes_change(gateway: RunningGateway, admin: Admin) -> None:
    with gateway.client() as client:
        for number in range(60):
            put(admin, f"r{number % 7}", "/r", f"{number}")
            assert client.get("/file").text == "of the file"
            assert client.get("/r").status == 200
