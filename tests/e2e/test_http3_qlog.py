"""What HTTP/3 connections do, written to files on demand."""

import json
from pathlib import Path

from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.http3 import Http3Client
from e2e.kit.pki import Authority


def started(serve: Serve, authority: Authority, **settings: object) -> RunningGateway:
    leaf = authority.issue("gate.test")
    return serve(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.http3(**{settings!r})
gate.route("/", respond="ok")
""")


def ask(gateway: RunningGateway, authority: Authority) -> None:
    with Http3Client(gateway.address, authority.ca) as client:
        assert client.get("/").body == b"ok"


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("headgate-*.sqlog"))


def events(path: Path) -> list[dict[str, object]]:
    """The records of a file (JSON text sequences, RFC 7464)."""
    return [json.loads(one) for one in path.read_text().split("\x1e") if one.strip()]


def test_packets_of_a_connection_are_written_to_a_file_of_its_own(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    folder = tmp_path / "qlog"
    gateway = started(serve, authority, qlog=str(folder))
    ask(gateway, authority)
    eventually(lambda: gateway.counter("connections_active") == 0, "the connection is over", within=20)
    [path] = files(folder)
    assert path.stat().st_mode & 0o777 == 0o600
    head, *rest = eventually(lambda: events(path)[1:] and events(path), "the events are written")
    assert "127.0.0.1:" in str(head), "the client's address"
    names = {str(one["name"]) for one in rest}
    assert any(name.endswith("packet_sent") for name in names), names
    assert any(name.endswith("packet_received") for name in names), names


def test_files_are_bounded_and_a_share_of_none_writes_none(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    gateway = started(serve, authority, qlog=str(few), qlog_max_files=2, qlog_max_bytes=1024)
    for _ in range(4):
        ask(gateway, authority)
    eventually(lambda: gateway.counter("connections_active") == 0, "all are over", within=20)
    assert len(files(few)) == 2
    assert all(path.stat().st_size <= 1024 for path in files(few))
    none = tmp_path / "none"
    ask(started(serve, authority, qlog=str(none), qlog_share=0), authority)
    assert files(none) == []


def test_folder_that_cannot_be_written_costs_the_client_nothing(
    serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    gateway = started(serve, authority, qlog=str(tmp_path / "file" / "below"))
    ask(gateway, authority)
    eventually(lambda: "`http3.qlog`: no events are written" in gateway.log(), "it is told")
