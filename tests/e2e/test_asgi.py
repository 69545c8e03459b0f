"""ASGI applications inside the gateway: Starlette, FastAPI and plain ones, over real sockets."""

import asyncio
import threading
from pathlib import Path

import pytest
import websockets
from e2e.kit import Origin, RunningGateway, Serve, eventually
from e2e.kit.client import format_request
from e2e.kit.http2 import Http2Client
from websockets.asyncio.client import connect

GATE = """
import asyncio, contextlib
from fastapi import FastAPI, File, HTTPException, UploadFile, WebSocket as FastWebSocket
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
seen = []

async def show(request):
    return JSONResponse({
        "method": request.method, "path": request.url.path, "query": request.url.query,
        "root": request.scope["root_path"],
        "raw": request.scope["raw_path"].decode(), "headers": dict(request.headers), "client": request.client.host,
        "body": (await request.body()).decode(), "url": str(request.url), "state": request.state.begun,
        "name": request.path_params.get("name"), "link": str(request.url_for("show", name="x")),
    })

async def stream(request):
    async def pieces():
        for number in range(3):
            yield f"{number};"
            await asyncio.sleep(0.01)
    return StreamingResponse(pieces(), media_type="text/plain")

async def big(request):
    return PlainTextResponse("b" * 3_000_000)

async def size(request):
    total = count = 0
    async for piece in request.stream():
        total, count = total + len(piece), count + 1
    return JSONResponse({"total": total, "many": count > 3})

async def echo_body(request):
    return StreamingResponse(request.stream(), media_type="text/plain")

async def respond_first(request):
    async def pieces():
        yield "begun;"
        total = 0
        try:
            async for piece in request.stream():
                total += len(piece)
        except ClientDisconnect:
            seen.append("left within its body")
            raise
        yield f"{total} bytes"
    return StreamingResponse(pieces(), media_type="text/plain")

async def fail(request):
    raise LookupError("no luck")

async def fail_late(request):
    async def pieces():
        yield "begun"
        await asyncio.sleep(0.01)
        raise LookupError("no more luck")
    return StreamingResponse(pieces())

async def left(request):
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    seen.append("left")

async def saw(request):
    return JSONResponse(seen)

async def echo(socket):
    chosen = "two" if "two" in socket.scope["subprotocols"] else None
    await socket.accept(subprotocol=chosen, headers=[(b"x-made", b"here")])
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                seen.append(f"socket {message['code']}")
                return
            if message.get("text") == "close":
                await socket.close(4001, "as you wish")
            elif "text" in message:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except RuntimeError:
        pass

async def refuse(socket):
    await socket.close()

async def deny(socket):
    await socket.send_denial_response(PlainTextResponse("not you", status_code=401))

async def burst(socket):
    await socket.accept()
    for number in range(200):
        await socket.send_bytes(b"x" * 50_000)
    await socket.close()

@contextlib.asynccontextmanager
async def lifespan(app):
    print("application starts", flush=True)
    yield {"begun": "yes"}
    print("application stops", flush=True)

routes = [Route("/show/{name}", show, name="show", methods=["GET", "POST"]), Route("/stream", stream),
    Route("/big", big), Route("/size", size, methods=["POST"]), Route("/echo-body", echo_body, methods=["POST"]),
    Route("/respond-first", respond_first, methods=["POST"]), Route("/fail", fail), Route("/fail-late", fail_late),
    Route("/left", left), Route("/saw", saw), WebSocketRoute("/echo", echo), WebSocketRoute("/refuse", refuse),
    WebSocketRoute("/deny", deny), WebSocketRoute("/burst", burst)]
star = Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(GZipMiddleware, minimum_size=10_000_000)])
mounted = gate.mount("/star", star)

@mounted.response
def stamp(request, response):
    response.headers["x-gateway"] = "headgate"

fast = FastAPI(root_path="")

class Item(BaseModel):
    name: str
    price: float

@fast.post("/items")
async def make(item: Item, dry: bool = False):
    return {"item": item, "dry": dry}

@fast.get("/sync/{number}")
def in_a_thread(number: int):
    if number > 9:
        raise HTTPException(418, "too many")
    return {"twice": 2 * number}

@fast.post("/files")
async def files(file: UploadFile = File()):
    return {"name": file.filename, "size": len(await file.read())}

gate.mount("/fast", fast)

async def plain(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError(f"unknown scope type `{scope['type']}`")
    if scope["path"].endswith("nothing"):
        return
    if scope["path"].endswith("endless"):
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"e" * 100_000, "more_body": True})
                seen.append("piece")
        except OSError:
            seen.append("ended")
            return
    if scope["path"].endswith("listens"):
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while (message := await receive())["type"] != "http.disconnect":
            pass
        seen.append("told within its response")
        return
    if "/declares" in scope["path"]:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        size = int(scope["query_string"] or b"0")
        while scope["path"].endswith("pieces") and size:
            await send({"type": "http.response.body", "body": b"d", "more_body": True})
            size -= 1
        await send({"type": "http.response.body", "body": b"d" * size})
        return
    fields = [(b"Content-Length", b"2"), (b"X-A", b"1"), (b"x-a", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b"ok"})

gate.mount("/plain", plain)
gate.route("/other", respond="not mounted")
"""


@pytest.fixture(scope="module")
def gateway(serve_module: Serve) -> RunningGateway:
    return serve_module(GATE)


def test_application_sees_the_request(gateway: RunningGateway) -> None:
    shown = gateway.post("/star/show/a%20b?x=1", b"hello", [("X-One", "1")], host="gate.test:81").json()
    assert (shown["method"], shown["body"], shown["query"], shown["root"]) == (
        "POST",
        "hello",
        "x=1",
        "/star",
    )
    assert (shown["path"], shown["raw"], shown["name"]) == ("/star/show/a b", "/star/show/a%20b", "a b")
    assert (shown["headers"]["x-one"], shown["headers"]["host"], shown["client"]) == (
        "1",
        "gate.test:81",
        "127.0.0.1",
    )
    assert shown["headers"]["content-length"] == "5"
    assert shown["link"] == "http://gate.test:81/star/show/x"
    assert shown["state"] == "yes"


def test_response_passes_the_hooks_of_the_route(gateway: RunningGateway) -> None:
    assert gateway.get("/star/show/a").get("x-gateway") == "headgate"


def test_other_routes_stay(gateway: RunningGateway) -> None:
    assert gateway.get("/other").text == "not mounted"
    assert gateway.get("/star/nowhere").status == 404


def test_streamed_response_arrives_in_pieces(gateway: RunningGateway) -> None:
    response = gateway.get("/star/stream")
    assert (response.text, response.get("transfer-encoding")) == ("0;1;2;", "chunked")


def test_large_response_arrives_whole(gateway: RunningGateway) -> None:
    assert gateway.get("/star/big").body == b"b" * 3_000_000


def test_large_request_is_streamed(gateway: RunningGateway) -> None:
    assert gateway.post("/star/size", b"s" * 3_000_000).json() == {"total": 3_000_000, "many": True}


def test_body_is_echoed_as_it_comes(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(format_request("POST", "/star/echo-body", [("Transfer-Encoding", "chunked")]))
        client.send(b"5\r\nfirst\r\n")
        assert client.head().get("transfer-encoding") == "chunked"
        assert client.read_until(b"\r\nfirst\r\n") == b"5\r\nfirst\r\n"
        client.send(b"6\r\nsecond\r\n")
        assert client.read_until(b"second\r\n") == b"6\r\nsecond\r\n"
        client.send(b"0\r\n\r\n")
        assert client.read_to_end() == b"0\r\n\r\n"


def test_body_is_echoed_over_http2(gateway: RunningGateway) -> None:
    with Http2Client(gateway.address) as client:
        stream = client.request("/star/echo-body", method="POST", body=b"first", ends=False)
        assert client.body(stream, 5) == b"first"
        client.send_body(stream, b"x" * 300_000)
        response = client.response(stream)
        assert (response.body, response.reset) == (b"x" * 300_000, None)


def test_body_may_be_read_after_the_response_has_begun(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(format_request("POST", "/star/respond-first", [("Content-Length", "500000")]))
        client.head()
        client.read_until(b"begun;\r\n")
        client.send(b"x" * 500_000)
        assert b"500000 bytes" in client.read_to_end()


def test_body_that_is_here_keeps_the_connection(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        for size in (0, 3, 10_000):
            response = client.request("POST", "/star/respond-first", body=b"x" * size)
            assert response.text == f"begun;{size} bytes"


def test_client_that_leaves_within_its_body_ends_the_application(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(format_request("POST", "/star/respond-first", [("Content-Length", "10")]) + b"12345")
        client.head()
        client.read_until(b"begun;\r\n")
    told = "left within its body"
    eventually(lambda: told in gateway.get("/star/saw").json(), "the application is told")


def test_slow_client_holds_the_application_back(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(format_request("GET", "/plain/endless"))
        client.head()
        client.is_silent(0.2)
    eventually(lambda: "ended" in gateway.get("/star/saw").json(), "the application is told")
    assert gateway.get("/star/saw").json().count("piece") < 300


def test_raising_application_is_a_500(gateway: RunningGateway) -> None:
    assert gateway.get("/star/fail").status == 500
    gateway.wait_for_log("no luck")


def test_application_that_does_not_respond_is_a_500(gateway: RunningGateway) -> None:
    assert gateway.get("/plain/nothing").status == 500
    gateway.wait_for_log("without a complete response")


@pytest.mark.parametrize(("size", "told"), [(3, "shorter"), (9, "longer")])
def test_body_of_another_length_than_declared_is_no_complete_response(
    gateway: RunningGateway, size: int, told: str
) -> None:
    assert gateway.get(f"/plain/declares?{size}").status == 500
    with gateway.client() as client:
        client.send(format_request("GET", f"/plain/declares-pieces?{size}"))
        assert not client.read_to_end().endswith(b"0\r\n\r\n")
    gateway.wait_for_log(f"the response is {told} than its Content-Length")
    assert gateway.get("/plain/declares?5").body == gateway.get("/plain/declares-pieces?5").body == b"ddddd"
    with gateway.client() as client:
        assert client.request("HEAD", "/plain/declares-none").status == 200


def test_response_that_fails_midway_is_cut(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(format_request("GET", "/star/fail-late"))
        assert not client.read_to_end().endswith(b"0\r\n\r\n")


def test_leaving_client_is_a_disconnect(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(format_request("GET", "/star/left"))
        assert client.is_silent(0.1)
    eventually(lambda: "left" in gateway.get("/star/saw").json(), "the application is told")


def test_client_that_disconnects_from_an_idle_response_is_seen(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(format_request("GET", "/plain/listens"))
        client.read_until(b"begun\r\n")
    told = "told within its response"
    eventually(lambda: told in gateway.get("/star/saw").json(), "the application is told")


def test_framing_is_the_gateways_and_fields_stay(gateway: RunningGateway) -> None:
    response = gateway.get("/plain/x")
    assert (response.body, response.all("content-length"), response.all("x-a")) == (b"ok", ["2"], ["1", "2"])


def test_head_has_no_body(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.send(format_request("HEAD", "/plain/x"))
        assert client.response("HEAD").status == 200
        assert client.get("/plain/x").body == b"ok"


def test_fastapi_validates_and_responds(gateway: RunningGateway) -> None:
    good = gateway.post(
        "/fast/items?dry=1", b'{"name": "a", "price": 2}', [("Content-Type", "application/json")]
    )
    assert good.json() == {"item": {"name": "a", "price": 2.0}, "dry": True}
    bad = gateway.post("/fast/items", b'{"name": "a"}', [("Content-Type", "application/json")])
    assert bad.status == 422


def test_fastapi_runs_sync_functions_in_threads(gateway: RunningGateway) -> None:
    assert gateway.get("/fast/sync/4").json() == {"twice": 8}
    assert gateway.get("/fast/sync/10").status == 418


def test_fastapi_takes_files(gateway: RunningGateway) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="f.bin"\r\n\r\n'
        + b"f" * 300_000
        + b"\r\n--b--\r\n"
    )
    response = gateway.post("/fast/files", body, [("Content-Type", "multipart/form-data; boundary=b")])
    assert response.json() == {"name": "f.bin", "size": 300_000}


def test_fastapi_documents_itself(gateway: RunningGateway) -> None:
    assert "/fast/openapi.json" in gateway.get("/fast/docs").text
    assert "/items" in gateway.get("/fast/openapi.json").json()["paths"]


def test_requests_side_by_side_are_served(gateway: RunningGateway) -> None:
    responses: list[str] = []

    def ask() -> None:
        with gateway.client() as client:
            for _ in range(20):
                client.send(format_request("GET", "/star/stream"))
                responses.append(client.response().text)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert responses == ["0;1;2;"] * 100


async def test_websocket_echoes_text_and_bytes(gateway: RunningGateway) -> None:
    async with connect(f"ws://{gateway.address}/star/echo", subprotocols=["one", "two"]) as socket:  # type: ignore[list-item]
        assert socket.subprotocol == "two"
        assert socket.response is not None and socket.response.headers["x-made"] == "here"
        for message in ("wört", b"bytes", "x" * 300_000, b"y" * 300_000, ""):
            await socket.send(message)
            assert await socket.recv() == message
        await (await socket.ping())


async def test_websocket_is_closed_by_either_side(gateway: RunningGateway) -> None:
    async with connect(f"ws://{gateway.address}/star/echo") as socket:
        await socket.send("close")
        with pytest.raises(websockets.ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None and (closed.value.rcvd.code, closed.value.rcvd.reason) == (
            4001,
            "as you wish",
        )
    async with connect(f"ws://{gateway.address}/star/echo") as socket:
        await socket.close(4002)
    seen = lambda: gateway.get("/star/saw").json()  # noqa: E731
    await asyncio.to_thread(eventually, lambda: "socket 4002" in seen(), "the application is told")


async def test_websocket_that_breaks_is_a_disconnect(gateway: RunningGateway) -> None:
    socket = await connect(f"ws://{gateway.address}/star/echo")
    socket.transport.abort()
    seen = lambda: gateway.get("/star/saw").json()  # noqa: E731
    await asyncio.to_thread(eventually, lambda: "socket 1006" in seen(), "the application is told")


@pytest.mark.parametrize(("path", "status"), [("refuse", 403), ("deny", 401), ("nowhere", 403)])
async def test_websocket_is_refused(gateway: RunningGateway, path: str, status: int) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await connect(f"ws://{gateway.address}/star/{path}")
    assert refused.value.response.status_code == status


async def test_large_messages_reach_a_slow_client(gateway: RunningGateway) -> None:
    async with connect(f"ws://{gateway.address}/star/burst", max_queue=1) as socket:
        sizes = [len(message) async for message in socket]
    assert sizes == [50_000] * 200


def test_handshakes_that_are_none_are_refused(gateway: RunningGateway) -> None:
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    assert gateway.get("/star/echo", upgrade).status == 426
    version = [*upgrade, ("Sec-WebSocket-Version", "13")]
    assert gateway.get("/star/echo", version).status == 400


def test_lifespan_begins_and_ends_with_the_worker(serve: Serve) -> None:
    gateway = serve(GATE)
    gateway.stop()
    assert gateway.output().splitlines() == ["application starts", "application stops"]
    assert "shutdown hook failed" not in gateway.log()


def test_application_that_does_not_start_stops_the_gateway(serve: Serve) -> None:
    text = """
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)

async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})

gate.mount("/", app)
"""
    gateway = serve(text, is_ready=False)
    gateway.wait_for_log("no database")


def test_odd_paths_are_refused() -> None:
    from headgate import ConfigError, Gateway

    for path in ("admin", "/a/*", "/{x}"):
        with pytest.raises(ConfigError, match="cannot mount"):
            Gateway().mount(path, lambda *_: None)


def test_example_serves_its_application_beside_an_upstream(serve: Serve, origin: Origin) -> None:
    text = (Path(__file__).parents[2] / "examples" / "asgi_app.py").read_text()
    gateway = serve(
        "import os; os.environ['LISTEN'] = LISTEN\n" + text, environment={"ORIGIN": str(origin.address)}
    )
    assert gateway.get("/admin/status").json() == {"path": "/admin/status", "below": "/admin"}
    assert gateway.get("/other").json()["target"] == "/other"
