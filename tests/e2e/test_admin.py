"""The Admin API and the agent behind it: what is written is in force in every worker when the response comes."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.admin import Admin

from headgate.stores import Key, Transaction, Write, open_store


def described(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "admin": f"unix:{folder}/admin.sock",
        "state_folder": str(folder / "state"),
        "routes": [{"path": "/file", "respond": "of the file"}],
        **more,
    }


@pytest.fixture
def gateway(serve: Serve, tmp_path: Path) -> RunningGateway:
    return serve(described(tmp_path), workers=2)


@pytest.fixture
def admin(gateway: RunningGateway, tmp_path: Path) -> Admin:
    return Admin(f"unix:{tmp_path}/admin.sock")


def agent_of(gateway: RunningGateway) -> int:
    """The process id of the agent."""
    found: int | None = gateway.ask()["agent"]
    assert found is not None
    return found


def test_what_is_put_serves_in_every_worker(gateway: RunningGateway, admin: Admin, origin: Origin) -> None:
    workers = gateway.workers
    put = admin.put("/v1/upstreams/api", {"servers": [origin.address]})
    assert (put.status, put.get("Location")) == (201, "/v1/upstreams/api"), put.body
    assert admin.put("/v1/routes/all", {"path": "/api/*", "to": "api"}).status == 201
    assert [gateway.get("/api/x").status for _ in range(20)] == [200] * 20
    assert gateway.get("/file").text == "of the file"
    assert gateway.workers == workers
    assert admin.delete("/v1/routes/all").status == 204
    assert [gateway.get("/api/x").status for _ in range(20)] == [404] * 20
    assert admin.get("/v1/routes/all").status == 404


def test_nothing_is_lost_when_the_agent_is_killed(gateway: RunningGateway, admin: Admin) -> None:
    assert admin.put("/v1/routes/kept", {"path": "/kept", "respond": "kept"}).status == 201
    os.kill(agent_of(gateway), signal.SIGKILL)
    assert gateway.get("/kept").text == "kept"
    # the socket is the supervisor's: this waits for the next agent
    assert admin.get("/v1/routes/kept").json() == {"path": "/kept", "respond": "kept"}
    assert admin.put("/v1/routes/next", {"path": "/next", "respond": "next"}).status == 201
    assert gateway.get("/next").text == "next"


def test_a_new_worker_has_what_is_in_force(gateway: RunningGateway, admin: Admin, tmp_path: Path) -> None:
    assert admin.put("/v1/routes/kept", {"path": "/kept", "respond": "kept"}).status == 201
    (tmp_path / "state" / "config.db").rename(tmp_path / "away")
    before = gateway.workers
    os.kill(agent_of(gateway), signal.SIGSTOP)
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    eventually(lambda: len(set(gateway.workers) - set(before)) == 2, "two new workers serve")
    assert [gateway.get("/kept").text for _ in range(20)] == ["kept"] * 20
    os.kill(agent_of(gateway), signal.SIGCONT)


def test_all_is_there_after_a_restart(serve: Serve, tmp_path: Path) -> None:
    first = serve(described(tmp_path))
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    assert admin.put("/v1/routes/kept", {"path": "/kept", "respond": "kept"}).status == 201
    first.stop()
    again = serve(described(tmp_path))
    assert again.get("/kept").text == "kept"


def put_when_the_agent_is_there(admin: Admin, path: str, document: dict[str, Any]) -> None:
    """After a reload the agent is replaced; the one that ends says when to try again."""

    def is_put() -> bool:
        reply = admin.put(path, document)
        assert reply.status == 201 or (reply.status == 503 and reply.get("Retry-After") == "1"), reply
        return reply.status == 201

    eventually(is_put, "the change is taken")


def test_reload_keeps_the_resources(gateway: RunningGateway, admin: Admin, tmp_path: Path) -> None:
    assert admin.put("/v1/routes/kept", {"path": "/kept", "respond": "kept"}).status == 201
    gateway.write(described(tmp_path, routes=[{"path": "/file", "respond": "another"}]))
    reply = gateway.ask("reload")
    assert reply["ok"] and reply["in_place"], reply
    assert (gateway.get("/file").text, gateway.get("/kept").text) == ("another", "kept")
    put_when_the_agent_is_there(admin, "/v1/routes/more", {"path": "/more", "respond": "more"})
    assert [gateway.get(path).text for path in ("/file", "/kept", "/more")] == ["another", "kept", "more"]


def test_what_no_worker_can_build_is_refused_with_the_reason(gateway: RunningGateway, admin: Admin) -> None:
    refused = admin.put("/v1/routes/bad", {"path": "~^(?>a)", "respond": "x"})
    assert refused.status == 422, refused.body
    assert refused.get("Content-Type") == "application/problem+json"
    problem = refused.json()
    assert problem["errors"][0]["resource"] == "routes/bad" and "unrecognized flag" in problem["detail"]
    assert admin.get("/v1/routes/bad").status == 404
    assert admin.put("/v1/routes/good", {"path": "/good", "respond": "x"}).status == 201


@pytest.mark.parametrize(
    ("path", "document", "resource", "hint"),
    [
        ("/v1/routes/r", {"pth": "/"}, "routes/r", "did you mean `path`?"),
        ("/v1/routes/r", {"path": "/", "to": "nobody"}, "routes/r", None),
        ("/v1/upstreams/u", {"servers": ["a:1 wieght=2"]}, "upstreams/u", None),
        ("/v1/upstreams/a b", {"servers": ["a:1"]}, None, "letters, digits"),
        ("/v1/plugins/p", {"plugin": "key-oth"}, "plugins/p", "did you mean `key-auth`?"),
        ("/v1/routes/r", {"name": "other", "respond": "x"}, None, "remove `name`"),
    ],
)
def test_a_document_that_does_not_fit_is_refused_as_check_would(
    admin: Admin, path: str, document: dict[str, Any], resource: str | None, hint: str | None
) -> None:
    refused = admin.put(path.replace(" ", "%20"), document)
    problem = refused.json()
    assert refused.status == 422, problem
    assert problem["title"] == "Unprocessable Content"  # whatever the version of Python calls it
    if resource:
        assert problem["errors"][0]["resource"] == resource
    if hint:
        assert hint in problem["hint"]
    assert json.dumps(problem).count("internal") == 0


async def test_resources_of_a_store_serve_without_an_admin_api(serve: Serve, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/store.db"
    async with open_store(url) as store:
        await store.apply(Transaction((Write(Key("routes", "a"), {"path": "/a", "respond": "first"}),)))
        gateway = serve(
            {"store": url, "state_folder": str(tmp_path / "state"), "routes": [{"path": "/", "respond": "/"}]}
        )
        assert gateway.get("/a").text == "first"
        await store.apply(Transaction((Write(Key("routes", "a"), {"path": "/a", "respond": "second"}),)))
        eventually(lambda: gateway.get("/a").text == "second", "what another one has written serves")
        await store.apply(Transaction((Write(Key("routes", "b"), {"pth": "/b"}),)))
        gateway.wait_for_log("revision 3 of the store cannot be applied; still serving revision 2")
        assert gateway.get("/a").text == "second"
        writes = (
            Write(Key("routes", "b"), None),
            Write(Key("routes", "a"), {"path": "/a", "respond": "third"}),
        )
        await store.apply(Transaction(writes))
        eventually(lambda: gateway.get("/a").text == "third", "a later revision serves again")


async def test_what_is_read_whole_after_a_compaction_is_validated_as_a_change_is(
    serve: Serve, tmp_path: Path
) -> None:
    """The agent slept over the changes and their compaction, so that it has to read everything."""
    url, a = f"sqlite://{tmp_path}/store.db", Key("routes", "a")
    async with open_store(url) as store:
        await store.apply(Transaction((Write(a, {"path": "/a", "respond": "first"}),)))
        gateway = serve(
            {"store": url, "state_folder": str(tmp_path / "state"), "routes": [{"path": "/", "respond": "/"}]}
        )
        agent = agent_of(gateway)
        os.kill(agent, signal.SIGSTOP)
        try:
            for text in ("second", "third", "fourth"):
                await store.apply(Transaction((Write(a, {"path": "/a", "respond": text}),)))
            await store.apply(Transaction((Write(Key("routes", "b"), {"pth": "/b"}),)))
            await store.compact(keep=1)
        finally:
            os.kill(agent, signal.SIGCONT)
        gateway.wait_for_log("revision 5 of the store cannot be applied; still serving revision 1")
        assert [gateway.get("/a").text for _ in range(10)] == ["first"] * 10
        await store.apply(Transaction((Write(Key("routes", "b"), None),)))
        eventually(lambda: gateway.get("/a").text == "fourth", "what can be applied serves")
        assert agent_of(gateway) == agent


def test_the_routes_in_force_can_be_asked_who_takes_a_request(gateway: RunningGateway, admin: Admin) -> None:
    assert (
        admin.put("/v1/routes/made", {"path": "/made/*", "methods": ["GET"], "respond": "made"}).status == 201
    )

    def asked(**request: Any) -> Any:
        return admin.ask("POST", "/v1/routes/-/test", request)

    found = asked(method="GET", url="https://example.com/made/x", headers={"X-A": "1"}).json()
    assert (found["route"], found["status"], found["path"]) == ("made", None, "/made/x")
    assert [(one["route"], one["kind"]) for one in found["verdicts"]] == [
        ("made", "takes"),
        ("/file", "path"),
    ]
    assert asked(url="https://example.com/file").json()["route"] == "/file"
    assert asked(method="PUT", url="http://a/made/x").json()["status"] == 405
    assert admin.delete("/v1/routes/made").status == 204
    assert asked(url="http://a/made/x").json()["status"] == 404
    for body, said in (
        ({"url": "nowhere"}, "is not a valid URL"),
        ({"method": "GET"}, "`url` is missing"),
        ({"url": "http://a/", "headers": {"a": 1}}, "`headers` is not a table of texts"),
        ({"url": "http://a/", "what": 1}, "unknown key `what`"),
    ):
        refused = asked(**body)
        assert refused.status in (400, 422) and said in refused.text, refused.text
