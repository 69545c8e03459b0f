"""A setting that is accepted has an effect: those that no other test of their own looks at."""

import os
import socket

import pytest
from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.client import RawClient
from e2e.kit.http2 import Http2Client
from e2e.kit.net import free_port
from e2e.kit.pki import Authority
from e2e.kit.proxy_protocol import tlv, v2

GATE = """
import asyncio, os, time
from headgate import Gateway, Overloaded, Response

gate = Gateway()
gate.listen(LISTEN)
gate.listen(PROXIED, proxy_protocol="any", trusted_proxies="127.0.0.1")
gate.listen(SECURE, tls={"certificates": [CERTIFICATE]})
gate.limits(max_proxy_header_bytes=256)
gate.http2(enabled=True, h2c="detect", window_bytes=123456)
gate.background_limits(max_tasks=1, threads=1, max_waiting_threads=0, processes=1, job_timeout=0.5,
                       max_job_bytes=2000, job_nice=15)
gate.error_log(level="error", to="file:errors.log")
gate.access_log("{target}", to="file:access.log", flush="1h", buffer_bytes=1024)
gate.request_id("x-correlation-id")
gate.hook_defaults(on_error="open")

@gate.route("/fails")
def fails(request):
    raise ValueError("the hook failed")

@gate.route("/fails-open", respond="went on")
def fails_open(request):
    raise ValueError("the hook failed")

async def refused(begin):
    begun, seen = [], None
    try:
        for _ in range(3):
            begun.append(begin())
            await asyncio.sleep(0)
        await asyncio.gather(*begun)
    except Exception as error:
        seen = f"{type(error).__name__}: {error}"
    for one in begun:
        one.cancel()
    return Response(200, seen)

@gate.route("/max_tasks")
async def max_tasks(request):
    return await refused(lambda: gate.spawn(asyncio.sleep(5)))

@gate.route("/max_waiting_threads")
async def max_waiting_threads(request):
    return await refused(lambda: asyncio.ensure_future(gate.run_in_thread(time.sleep, 0.2)))

@gate.route("/job_timeout")
async def job_timeout(request):
    return await refused(lambda: asyncio.ensure_future(gate.run_in_process(time.sleep, 30)))

@gate.route("/max_job_bytes")
async def max_job_bytes(request):
    return await refused(lambda: asyncio.ensure_future(gate.run_in_process(len, b"x" * 4000)))

@gate.route("/job_nice")
async def job_nice(request):
    return Response(200, str(await gate.run_in_process(os.nice, 0, timeout=20)))

@gate.route("/")
def rest(request):
    return Response(200, "in")
"""


@pytest.fixture(scope="module")
def names(authority: Authority) -> dict[str, object]:
    issued = authority.issue("gate.test")
    return {
        "PROXIED": f"127.0.0.1:{free_port()}",
        "SECURE": f"127.0.0.1:{free_port()}",
        "CERTIFICATE": {"certificate": str(issued.chain), "key": str(issued.key)},
    }


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, names: dict[str, object]) -> RunningGateway:
    return serve_module(GATE, names=names)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("max_tasks", "Overloaded: "),
        ("max_waiting_threads", "Overloaded: "),
        ("job_timeout", "TimeoutError"),
        ("max_job_bytes", "4"),
        ("job_nice", str(min(19, os.nice(0) + 15))),
    ],
)
def test_bound_on_work_beside_requests(gateway: RunningGateway, setting: str, told: str) -> None:
    with gateway.client() as client:
        text = client.get(f"/{setting}").text
    assert told in text


@pytest.mark.parametrize(("size", "is_served"), [(100, True), (300, False)])
def test_max_proxy_header_bytes(
    gateway: RunningGateway, names: dict[str, object], size: int, is_served: bool
) -> None:
    with RawClient(str(names["PROXIED"])) as client:
        client.send(v2(("192.0.2.1", 5), tlvs=tlv(0xEE, b"x" * size)))
        if is_served:
            assert client.get("/").status == 200
        else:
            assert client.is_closed()


def test_window_bytes_of_http2_are_announced(gateway: RunningGateway) -> None:
    with Http2Client(gateway.address) as client:
        assert client.get("/").status == 200
        assert client.state.remote_settings.initial_window_size == 123456


@pytest.mark.parametrize("enabled", [True, False])
def test_http2_enabled(serve: Serve, authority: Authority, names: dict[str, object], enabled: bool) -> None:
    address = f"127.0.0.1:{free_port()}"
    gateway = serve(
        {
            "routes": [{"respond": "in"}],
            "http2": {"enabled": enabled},
            "listeners": {"address": address, "tls": {"certificates": [names["CERTIFICATE"]]}},
        },
        listen=None,
        is_ready=False,
    )
    context = authority.client()
    context.set_alpn_protocols(["h2", "http/1.1"])

    def agreed() -> str | None:
        try:
            host, port = address.split(":")
            with socket.create_connection((host, int(port))) as plain:
                with context.wrap_socket(plain, server_hostname="gate.test") as secure:
                    return secure.selected_alpn_protocol()
        except OSError:
            return None

    eventually(agreed, "the gateway serves")
    assert agreed() == ("h2" if enabled else "http/1.1")
    assert gateway.process.poll() is None


def test_request_id_header(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        response = client.get("/", [("x-correlation-id", "abc-123")])
    assert response.get("x-correlation-id") == "abc-123"
    assert response.get("x-request-id") is None


def test_hook_on_error_open(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        response = client.get("/fails-open")
    assert (response.status, response.text) == (200, "went on")


def test_error_log_to_a_file_at_a_level(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        client.get("/fails")
    file = gateway.folder / "errors.log"
    eventually(lambda: "ValueError: the hook failed" in file.read_text(), "the file has the traceback")
    assert " info " not in file.read_text()
    assert "the hook failed" not in gateway.log()


def test_buffer_bytes_of_the_access_log(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        for number in range(60):
            client.get(f"/a-line-of-the-log/{number}")
    file = gateway.folder / "access.log"
    eventually(
        lambda: file.exists() and "/a-line-of-the-log/0" in file.read_text(), "a full buffer is written"
    )
    assert "/a-line-of-the-log/59" not in file.read_text()
