"""QUIC below what aioquic does by itself: packets with frames of the test's choice, and the frames that come back."""

from __future__ import annotations

import time
from collections.abc import Callable

from aioquic.buffer import Buffer, encode_uint_var
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.tls import Epoch

from .http3 import Http3Client

PATH_CHALLENGE = 0x1A


def send_frames(client: Http3Client, frames: bytes) -> None:
    """Sends a packet with these frames, whatever they are."""
    quic = client.quic
    builder = QuicPacketBuilder(
        host_cid=quic.host_cid,
        peer_cid=quic._peer_cid.cid,
        version=quic._version,
        is_client=True,
        max_datagram_size=quic._max_datagram_size,
        packet_number=quic._packet_number,
    )
    builder.start_packet(QuicPacketType.ONE_RTT, quic._cryptos[Epoch.ONE_RTT])
    builder.start_frame(QuicFrameType.PING, capacity=1 + len(frames)).push_bytes(frames)
    datagrams, _ = builder.flush()
    quic._packet_number = builder.packet_number
    for datagram in datagrams:
        client.socket.sendto(datagram, client.peer)


def integers(*values: int) -> bytes:
    """Integers as frames are made of them."""
    return b"".join(encode_uint_var(value) for value in values)


def frames_seen(client: Http3Client) -> list[int]:
    """The types of the frames that come from now on, as they come."""
    seen: list[int] = []
    handlers = client.quic._QuicConnection__frame_handlers  # type: ignore[attr-defined]

    def noted(kind: int, handle: Callable[..., None]) -> Callable[..., None]:
        def handle_and_note(context: object, frame_type: int, buffer: Buffer) -> None:
            seen.append(kind)
            handle(context, frame_type, buffer)

        return handle_and_note

    for kind, (handle, epochs) in list(handlers.items()):
        handlers[kind] = (noted(kind, handle), epochs)
    return seen


def drain(client: Http3Client, seconds: float) -> None:
    """Takes what comes within a time."""
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end and client.terminated is None:
        client.receive(min(end, now + 0.05))
