"""Which response of an HTTP/3 connection comes first (extensible priorities, RFC 9218)."""

from collections.abc import Iterator, Sequence

import pytest
from aioquic.buffer import encode_uint_var
from e2e.kit import Call, Origin, RunningGateway, Serve
from e2e.kit.http3 import Http3Client, frame
from e2e.kit.pki import Authority, Leaf

BODY = b"b" * 400_000
PRIORITY_UPDATE = 0xF0700


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, authority: Authority, origin: Origin) -> RunningGateway:
    leaf: Leaf = authority.issue("gate.test")
    return serve_module(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.route("/large", respond="b" * {len(BODY)})
gate.route("/", to={origin.address!r})
""")


@pytest.fixture
def client(gateway: RunningGateway, authority: Authority) -> Iterator[Http3Client]:
    """One that takes little before it has read it: so the gateway has to choose."""
    with Http3Client(gateway.address, authority.ca, window=20_000) as client:
        yield client


def begin(client: Http3Client, priorities: Sequence[str | None], target: str = "/large") -> list[int]:
    return [
        client.request(target, [] if priority is None else [("priority", priority)])
        for priority in priorities
    ]


def order(client: Http3Client, streams: Sequence[int]) -> list[int]:
    """The streams, by numbers, in the order in which their responses end."""
    ended: list[int] = []

    def all_ended() -> bool:
        for number, stream in enumerate(streams):
            if number not in ended and stream in client.responses and client.responses[stream].is_ended:
                ended.append(number)
        return len(ended) == len(streams)

    client.until(all_ended, "all responses")
    assert all(client.responses[stream].body == BODY for stream in streams)
    return ended


def left_when_one_ends(client: Http3Client, streams: Sequence[int]) -> int:
    """Bytes that the others still miss when the first response ends."""
    client.until(lambda: any(client.responses[stream].is_ended for stream in streams), "a response")
    return sum(len(BODY) - len(client.responses[stream].body) for stream in streams)


def update(client: Http3Client, stream: int, priority: str) -> None:
    assert client.http is not None
    control = client.http._local_control_stream_id
    assert control is not None
    client.quic.send_stream_data(control, frame(PRIORITY_UPDATE, encode_uint_var(stream) + priority.encode()))
    client.flush()


def test_urgent_responses_come_first(client: Http3Client) -> None:
    assert order(client, begin(client, ["u=7", "u=5, i", "u=3", "u=0"])) == [3, 2, 1, 0]


def test_responses_that_are_of_use_only_whole_come_one_after_the_other(client: Http3Client) -> None:
    streams = begin(client, ["u=2", "u=2", "u=2"])
    assert left_when_one_ends(client, streams) > 1.5 * len(BODY)
    assert order(client, streams) == [0, 1, 2]


@pytest.mark.parametrize("priority", ["u=2, i", None])
def test_responses_that_are_used_as_they_come_share(client: Http3Client, priority: str | None) -> None:
    streams = begin(client, [priority, priority])
    assert left_when_one_ends(client, streams) < len(BODY) / 4


def test_client_may_change_its_mind(client: Http3Client) -> None:
    update(client, 8, "u=0")  # before the request
    streams = begin(client, ["u=7", "u=5", "u=6"])
    update(client, 0, "u=1")
    assert order(client, streams) == [2, 0, 1]


def test_server_may_know_better(client: Http3Client, origin: Origin) -> None:
    def respond(call: Call) -> None:
        urgency = call.target.rpartition("=")[2]
        call.respond(BODY, fields=[("Priority", f"u={urgency}")])

    origin.on("/known", respond)
    streams = [client.request(f"/known?u={urgency}", [("priority", "u=3, i")]) for urgency in (6, 1)]
    assert order(client, streams) == [1, 0]
    assert client.responses[streams[1]].get("priority") == "u=1"
    assert origin.at("/known")[0].get("priority") == "u=3, i"


def test_response_that_its_client_does_not_read_holds_up_no_other(
    gateway: RunningGateway, authority: Authority
) -> None:
    with Http3Client(gateway.address, authority.ca, stream_window=50_000) as client:
        stalled = client.request("/large", [("priority", "u=0")])
        stream = client.quic._streams[stalled]
        # it counts as told already, so that the gateway is never told
        stream.max_stream_data_local = stream.max_stream_data_local_sent = 2**60
        other = client.request("/large", [("priority", "u=7")])
        assert client.response(other).body == BODY
        assert len(client.responses[stalled].body) <= 50_000
