"""Which response of an HTTP/2 connection comes first (extensible priorities, RFC 9218)."""

import contextlib
import struct
from collections.abc import Iterator, Sequence

import h2.events
import h2.exceptions
import h2.settings
import pytest
from e2e.kit import Call, Origin, RunningGateway, Serve
from e2e.kit.http2 import Http2Client, frame

BODY, LARGE = b"b" * 400_000, 2_000_000
PRIORITY_UPDATE, NO_RFC7540_PRIORITIES = 16, 9
PROTOCOL_ERROR, FRAME_SIZE_ERROR = 1, 6
STREAM_WINDOW = 1 << 24


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin) -> RunningGateway:
    return serve_module(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN)
gate.route("/body", respond="b" * {len(BODY)})
gate.route("/large", respond="l" * {LARGE})
gate.route("/", to={origin.address!r})
""")


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[Http2Client]:
    """One that takes 65,535 bytes before it has read them: so the gateway has to choose."""
    with Http2Client(gateway.address, window=STREAM_WINDOW) as client:
        yield client


def begin(client: Http2Client, priorities: Sequence[str | None], target: str = "/body") -> list[int]:
    return [client.request(target, fields=[] if one is None else [("priority", one)]) for one in priorities]


def order(client: Http2Client, streams: Sequence[int]) -> list[int]:
    """The streams, by numbers, in the order in which their responses end."""
    ended: list[int] = []
    while len(ended) < len(streams):
        assert client.receive(), f"only {ended} have ended"
        for number, stream in enumerate(streams):
            if number not in ended and client.streams[stream].is_ended:
                ended.append(number)
    assert all(client.streams[stream].body == BODY for stream in streams)
    return ended


def left_when_one_ends(client: Http2Client, streams: Sequence[int]) -> int:
    """Bytes that the others still miss when the first response ends."""
    while not any(client.streams[stream].is_ended for stream in streams):
        assert client.receive()
    return sum(len(BODY) - len(client.streams[stream].body) for stream in streams)


def update(client: Http2Client, stream: int, priority: str) -> None:
    client.send_raw(frame(PRIORITY_UPDATE, payload=struct.pack(">I", stream) + priority.encode()))


def test_urgent_responses_come_first(client: Http2Client) -> None:
    assert order(client, begin(client, ["u=7", "u=5, i", "u=3", "u=0"])) == [3, 2, 1, 0]


def test_responses_that_are_of_use_only_whole_come_one_after_the_other(client: Http2Client) -> None:
    streams = begin(client, ["u=2", "u=2", "u=2"])
    assert left_when_one_ends(client, streams) > 1.5 * len(BODY)
    assert order(client, streams) == [0, 1, 2]


@pytest.mark.parametrize("priority", ["u=2, i", None])
def test_responses_that_are_used_as_they_come_share(client: Http2Client, priority: str | None) -> None:
    streams = begin(client, [priority, priority])
    assert left_when_one_ends(client, streams) < len(BODY) / 3


def test_client_may_change_its_mind(client: Http2Client) -> None:
    update(client, 5, "u=0")  # before the request
    streams = begin(client, ["u=7", "u=5", "u=6"])
    update(client, 1, "u=1")
    assert order(client, streams) == [2, 0, 1]


def test_server_may_know_better(client: Http2Client, origin: Origin) -> None:
    def respond(call: Call) -> None:
        urgency = call.target.rpartition("=")[2]
        call.respond(BODY, fields=[("Priority", f"u={urgency}")])

    origin.on("/known", respond)
    streams = [client.request(f"/known?u={one}", fields=[("priority", "u=3, i")]) for one in (6, 1)]
    assert order(client, streams) == [1, 0]
    assert client.streams[streams[1]].get("priority") == "u=1"
    assert origin.at("/known")[0].get("priority") == "u=3, i"


class Choosy(Http2Client):
    """Widens the connection for what it reads, but a stream only if it is not one of `stalled`."""

    stalled: frozenset[int] = frozenset()

    def _take(self, event: h2.events.Event) -> None:
        super()._take(event)
        if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
            self.state.increment_flow_control_window(event.flow_controlled_length)
            if event.stream_id not in self.stalled:
                with contextlib.suppress(h2.exceptions.StreamClosedError):
                    self.state.increment_flow_control_window(event.flow_controlled_length, event.stream_id)


def test_response_that_its_client_does_not_read_holds_up_no_other(gateway: RunningGateway) -> None:
    with Choosy(gateway.address, window=50_000, auto_window=False) as client:
        (stalled,) = begin(client, ["u=0"])
        client.stalled = frozenset([stalled])
        others = begin(client, ["u=7", "u=7, i", None])
        assert [client.response(stream).body for stream in others] == [BODY] * 3
        assert len(client.streams[stalled].body) == 50_000


def test_stream_whose_window_is_taken_back_holds_up_no_other(gateway: RunningGateway) -> None:
    with Http2Client(gateway.address, window=1 << 30) as client:
        client.state.increment_flow_control_window(1 << 30)
        stalled = begin(client, [None] * 10, "/large")
        client.head(stalled[-1])
        # what was sent meanwhile fills the socket, and the gateway holds the next pieces
        client.state.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        client.flush()
        others = begin(client, [None, "u=0"])
        for stream in others:
            client.state.increment_flow_control_window(len(BODY), stream)
        client.flush()
        assert [client.response(stream).body for stream in others] == [BODY] * 2
        assert not any(client.streams[stream].is_ended for stream in stalled)
        for stream in stalled:
            client.state.increment_flow_control_window((1 << 30) + LARGE, stream)
        client.flush()
        assert [len(client.response(stream).body) for stream in stalled] == [LARGE] * len(stalled)


def test_streams_that_are_given_up_leave_their_room_to_others(client: Http2Client) -> None:
    for _ in range(50):
        for stream in begin(client, ["u=0", "u=1", None]):
            client.cancel(stream)
    assert order(client, begin(client, ["u=7"])) == [0]


def test_urgent_response_passes_those_that_wait_for_the_socket(gateway: RunningGateway) -> None:
    with Http2Client(gateway.address, window=1 << 30) as client:
        client.state.increment_flow_control_window(1 << 30)
        many = begin(client, ["u=6, i"] * 20, "/large")
        client.head(many[-1])
        (urgent,) = begin(client, ["u=0"])
        client.head(urgent)
        before = sum(len(client.streams[stream].body) for stream in many)
        assert client.response(urgent).body == BODY
        assert sum(len(client.streams[stream].body) for stream in many) - before < 1_000_000


def test_client_is_told_that_the_older_priorities_mean_nothing(client: Http2Client) -> None:
    assert client.get("/body").status == 200
    assert client.state.remote_settings[NO_RFC7540_PRIORITIES] == 1
    assert client.state.remote_settings.max_concurrent_streams > 1


@pytest.mark.parametrize(
    ("bytes_sent", "code"),
    [
        (frame(PRIORITY_UPDATE, stream=1, payload=b"\0\0\0\x01u=1"), PROTOCOL_ERROR),
        (frame(PRIORITY_UPDATE, payload=b"\0\0\0\0u=1"), PROTOCOL_ERROR),
        (frame(PRIORITY_UPDATE, payload=b"\0\0\0\x02u=1"), PROTOCOL_ERROR),
        (frame(PRIORITY_UPDATE, payload=b"\x7f\xff\xff\xffu=1"), PROTOCOL_ERROR),
        (frame(PRIORITY_UPDATE, payload=b"\0\0\0"), FRAME_SIZE_ERROR),
    ],
)
def test_updates_that_must_not_be_end_the_connection(
    client: Http2Client, bytes_sent: bytes, code: int
) -> None:
    client.send_raw(bytes_sent)
    client.read_to_end()
    assert client.goaway == code


def test_values_that_are_not_valid_mean_nothing(client: Http2Client) -> None:
    update(client, 1, "u=9, ;;(")
    client.send_raw(frame(PRIORITY_UPDATE, payload=b"\0\0\0\x01" + b"x" * 5000))
    assert order(client, begin(client, ["u=7", "u=0"])) == [1, 0]
