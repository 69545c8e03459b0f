"""Plugins that ask a service, over real sockets, with several workers and a service that comes and goes."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from e2e.kit import Call, Origin, RunningGateway, Serve
from e2e.kit.behaviours import hang, reply
from e2e.kit.client import RawClient, RawResponse


def document(origin: Origin, *plugins: dict[str, Any]) -> dict[str, Any]:
    return {"routes": [{"path": "/", "to": origin.address}], "plugins": list(plugins)}


def ask(gateway: RunningGateway, path: str, *fields: tuple[str, str], body: bytes = b"") -> RawResponse:
    with RawClient(gateway.address) as client:
        return client.request("POST" if body else "GET", path, fields, body=body or None)


def test_forward_auth_lets_in_refuses_and_closes_without_its_service(serve: Serve, origin: Origin) -> None:
    def verify(call: Call) -> None:
        if call.get("cookie") == "session=good":
            call.respond(fields=[("X-User", "alice")])
        else:
            fields = [("Location", "https://login.example/"), ("Set-Cookie", "a=1")]
            call.respond(b"login", status="302 Found", fields=fields)

    with Origin() as service:
        service.on("/verify", verify)
        config = {"url": f"http://{service.address}/verify", "copy": ["x-user"], "timeout": 1}
        use = {"plugin": "forward-auth", "on": "/private/*", "config": config}
        gateway = serve(document(origin, use), workers=2)
        refused = ask(gateway, "/private/x", ("X-User", "admin"))
        assert (refused.status, refused.get("location"), refused.get("set-cookie"), refused.body) == (
            302,
            "https://login.example/",
            "a=1",
            b"login",
        )
        good = ("Cookie", "session=good")
        with ThreadPoolExecutor(10) as pool:
            many = list(
                pool.map(lambda n: ask(gateway, f"/private/{n}", good, body=b"x" * 9000).status, range(40))
            )
        assert many == [200] * 40
        assert {call.get("x-user") for call in origin.calls} == {"alice"}
        assert {call.read_body() for call in origin.at("/private/3")} == {b"x" * 9000}
        asked = [call for call in service.calls if call.get("x-forwarded-uri") == "/private/3"]
        assert [
            (call.method, call.get("x-forwarded-method"), call.get("content-length")) for call in asked
        ] == [("GET", "POST", None)]
        service.on("/verify", hang)
        assert ask(gateway, "/private/x", good).status == 503
        service.on("/verify", reply(status="500 Internal Server Error"))
        assert ask(gateway, "/private/x", good).status == 503
    assert ask(gateway, "/private/x", good).status == 503
    assert ask(gateway, "/open").status == 200
    gateway.wait_for_log("the service is unavailable")
