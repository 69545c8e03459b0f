"""gRPC through the gateway: grpc-go's own interop client and server, and what callers are told when a server fails."""

import base64
import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.kit import RunningGateway, Serve, eventually, free_port
from e2e.kit.http2 import Http2Client
from e2e.kit.http2_server import Http2Server, Stream
from e2e.kit.net import connect
from e2e.kit.pki import Authority

HINT = "no grpc-go interop programs here; hint: `make services` installs them where Go is"
FOLDER = Path(os.environ.get("GOPATH") or Path.home() / "go") / "bin" / "grpc-interop"
CLIENT, SERVER = (shutil.which(name, path=str(FOLDER)) for name in ("client", "server"))

CASES = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
    "orca_per_rpc",
    "orca_oob",
]
"""All but those that ask Google for credentials, or a control plane for servers."""

ORCA = '{"loadBalancingConfig": [{"test_backend_metrics_load_balancer": {}}]}'


@contextlib.contextmanager
def interop_server(folder: Path, *arguments: str) -> Iterator[str]:
    """grpc-go's server in a process of its own; gives its address."""
    assert SERVER is not None
    port = free_port()
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen([SERVER, f"--port={port}", *arguments], stdout=output, stderr=output)
    try:
        eventually(lambda: accepts(port), lambda: f"the server accepts: {log.read_text()}", within=30)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with interop_server(tmp_path_factory.mktemp("grpc"), "--use_tls=false") as address:
        upstream = {"servers": [address], "protocol": "h2"}
        yield serve_module({"upstreams": {"grpc": upstream}, "routes": [{"to": "grpc"}]})


@dataclass(frozen=True)
class Secured:
    """A gateway with TLS on both sides, and what its callers trust."""

    port: int
    ca: str


@pytest.fixture(scope="module")
def secured(serve_module: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("grpc-tls")
    authority = Authority(folder)
    own, of_server = authority.issue("grpc.test"), authority.issue("127.0.0.1")
    files = [f"--tls_cert_file={of_server.chain}", f"--tls_key_file={of_server.key}"]
    port = free_port()
    with interop_server(folder, "--use_tls=true", *files) as address:
        names = {"PORT": port, "FILES": own.files, "SERVER": f"https://{address}", "CA": authority.ca}
        serve_module(SECURED, names=names)
        yield Secured(port, authority.ca)


SECURED = """
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN)
gate.listen(f"127.0.0.1:{PORT}", tls={"certificates": [FILES]})
servers = gate.upstream("grpc", SERVER, protocol="h2", tls={"ca": CA})
gate.route("/", to=servers)
"""


def accepts(port: int) -> bool:
    """Whether somebody listens."""
    try:
        connect(f"127.0.0.1:{port}").close()
    except OSError:
        return False
    return True


NEEDS_PROGRAMS = pytest.mark.skipif(CLIENT is None or SERVER is None, reason=HINT)


def run_case(case: str, *arguments: str) -> None:
    """Runs one case of grpc-go's client."""
    balancing = [f"--service_config_json={ORCA}"] if case.startswith("orca") else []
    command = [str(CLIENT), *arguments, *balancing, f"--test_case={case}"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout + run.stderr


@NEEDS_PROGRAMS
@pytest.mark.parametrize("case", CASES)
def test_interop_case_passes(gateway: RunningGateway, case: str) -> None:
    host, _, port = gateway.address.rpartition(":")
    run_case(case, f"--server_host={host}", f"--server_port={port}", "--use_tls=false")


@NEEDS_PROGRAMS
@pytest.mark.parametrize("case", CASES)
def test_interop_case_passes_over_tls(secured: Secured, case: str) -> None:
    place = ["--server_host=127.0.0.1", f"--server_port={secured.port}", "--server_host_override=grpc.test"]
    run_case(case, *place, "--use_tls", "--use_test_ca", f"--ca_file={secured.ca}")


def call(gateway: RunningGateway, **fields: str) -> dict[str, str]:
    """The fields of the response to an empty call."""
    told = [("content-type", "application/grpc"), ("te", "trailers"), *fields.items()]
    with Http2Client(gateway.address) as client:
        stream = client.request("/a.Service/Method", method="POST", fields=told, body=bytes(5))
        response = client.response(stream)
        assert response.is_ended
        return dict(response.fields) | dict(response.trailers)


def test_server_that_is_down_is_unavailable(serve: Serve) -> None:
    upstream = {"servers": [f"127.0.0.1:{free_port()}"], "protocol": "h2"}
    gateway = serve({"upstreams": {"grpc": upstream}, "routes": [{"to": "grpc"}]})
    response = call(gateway)
    assert (response[":status"], response["grpc-status"]) == ("200", "14")
    assert response["content-type"] == "application/grpc"
    assert "cannot connect" in response["grpc-message"]


def test_no_route_is_unimplemented(serve: Serve) -> None:
    gateway = serve({"routes": [{"path": "/other", "respond": "x"}]})
    assert call(gateway)["grpc-status"] == "12"


def test_deadline_of_the_caller_ends_the_call(serve: Serve) -> None:
    held: list[Stream] = []
    with Http2Server(held.append) as server:
        upstream = {"servers": [server.address], "protocol": "h2"}
        gateway = serve({"upstreams": {"grpc": upstream}, "routes": [{"to": "grpc"}]})
        assert call(gateway, **{"grpc-timeout": "200m"})["grpc-status"] == "4"
        eventually(lambda: held[0].reset == 8, "the server is told")


def test_status_of_the_server_passes(serve: Serve) -> None:
    def fails(stream: Stream) -> None:
        fields = [
            ("content-type", "application/grpc"),
            ("grpc-status", "5"),
            ("grpc-message", "no such thing"),
        ]
        stream.respond(fields=fields)

    with Http2Server(fails) as server:
        upstream = {"servers": [server.address], "protocol": "h2"}
        gateway = serve({"upstreams": {"grpc": upstream}, "routes": [{"to": "grpc"}]})
        response = call(gateway)
        assert (response["grpc-status"], response["grpc-message"]) == ("5", "no such thing")


def echo(stream: Stream) -> None:
    """A gRPC server that echoes the message it got."""
    assert (stream.get("content-type"), stream.get("te")) == ("application/grpc+proto", "trailers")
    fields = [("content-type", "application/grpc+proto")]
    stream.respond(stream.body, fields=fields, trailers=[("grpc-status", "0"), ("grpc-message", "fine")])


MESSAGE = b"\0\0\0\0\x05hello"
END = b"grpc-status: 0\r\ngrpc-message: fine\r\n"
TRAILERS = b"\x80" + len(END).to_bytes(4, "big") + END


def test_browser_calls_in_bytes(serve: Serve) -> None:
    with Http2Server(echo) as server:
        gateway = web(serve, server)
        fields = [("Content-Type", "application/grpc-web+proto"), ("X-Grpc-Web", "1")]
        response = gateway.get("/a.Service/Method", fields, method="POST", body=MESSAGE)
        assert (response.status, response.get("content-type")) == (200, "application/grpc-web+proto")
        assert response.body == MESSAGE + TRAILERS
        assert server.requests[0].get("x-grpc-web") is None


def test_browser_calls_in_text(serve: Serve) -> None:
    with Http2Server(echo) as server:
        gateway = web(serve, server)
        fields = [("Content-Type", "application/grpc-web-text+proto")]
        text = base64.b64encode(MESSAGE) + base64.b64encode(MESSAGE)
        response = gateway.get("/a.Service/Method", fields, method="POST", body=text)
        assert (response.status, response.get("content-type")) == (200, "application/grpc-web-text+proto")
        assert server.requests[0].body == MESSAGE * 2
        groups = (response.text[at : at + 4] for at in range(0, len(response.text), 4))
        assert b"".join(map(base64.b64decode, groups)) == MESSAGE * 2 + TRAILERS


def test_text_that_is_no_base64_is_no_call(serve: Serve) -> None:
    with Http2Server(echo) as server:
        gateway = web(serve, server)
        fields = [("Content-Type", "application/grpc-web-text+proto")]
        assert gateway.get("/a.Service/Method", fields, method="POST", body=b"?? no ??").status == 502
        assert server.requests == []


def web(serve: Serve, server: Http2Server) -> RunningGateway:
    """A gateway that makes browsers' calls calls of gRPC."""
    upstream = {"servers": [server.address], "protocol": "h2", "grpc_web": True}
    return serve({"upstreams": {"grpc": upstream}, "routes": [{"to": "grpc"}]})
