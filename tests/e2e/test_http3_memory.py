"""What HTTP/3 connections cost in memory: idle ones, and those that do not go on with their handshake."""

import json
import shutil
import socket
import subprocess
import time

import pytest
from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import H3_ALPN
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.tls import Epoch
from e2e.kit import RunningGateway, Serve, eventually
from e2e.kit.net import split_address
from e2e.kit.pki import Authority

LOADER = "headgate-h3load"
IDLE, HALF_OPEN = 1500, 8000
MOST_KB_EACH = 32
"""Of an idle connection. A build that is not optimised holds 29, part of it what handshakes at once leave behind."""
MOST_KB_HALF_OPEN = 8192
STEP = 100
"""Packets at once, which the kernel holds without losing any."""
NOT_ASKED = 300
"""The first are not asked for a proof, and a packet may be lost all the same."""


def resident_kb(gateway: RunningGateway) -> int:
    """Of the one worker, whoever else has the same pages: that changes with the processes that there are."""
    [pid] = gateway.workers
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return int(next(line for line in file if line.startswith("Anonymous:")).split()[1])


@pytest.fixture
def gateway(serve: Serve, authority: Authority) -> RunningGateway:
    leaf = authority.issue("gate.test")
    return serve(f"""
from headgate import Gateway
gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": [{leaf.files!r}]}}, http3=True)
gate.http3(idle="10m")
gate.timeouts(client_idle="10m")
gate.limits(max_connections=20000, max_connections_per_client=0)
gate.route("/", respond="ok")
""")


@pytest.mark.skipif(shutil.which(LOADER) is None, reason=f"no {LOADER} on the path; hint: `make services`")
def test_idle_connections_cost_little(gateway: RunningGateway) -> None:
    url = f"https://{gateway.address}/"

    def hold(count: int) -> "subprocess.Popen[str]":
        command = [LOADER, "-url", url, "-idle", "-connections", str(count)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        told = json.loads(holder.stdout.readline())
        assert told["requests"] == count, told
        return holder

    first = hold(50)  # what there is one of is there then
    before = resident_kb(gateway)
    holder = hold(IDLE)
    eventually(lambda: gateway.counter("requests_active") == 0, "all requests are over")
    each = (resident_kb(gateway) - before) / IDLE
    for one in (first, holder):
        one.kill()
        one.communicate()
    assert each <= MOST_KB_EACH, f"{each:.1f} KB"


class Initials:
    """First packets of clients, each of another one, that never send a second."""

    def __init__(self, peer: tuple[str, int]) -> None:
        configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="gate.test")
        self.quic = QuicConnection(configuration=configuration)
        self.quic.connect(peer, now=time.monotonic())
        self.hello = self.quic._crypto_streams[Epoch.INITIAL].sender._buffer[:]
        self.hello = bytes(self.hello)

    def packet(self, number: int) -> bytes:
        """The one of a client's."""
        connection_id = number.to_bytes(8, "big")
        keys = CryptoPair()
        keys.setup_initial(connection_id, is_client=True, version=1)
        builder = QuicPacketBuilder(
            host_cid=self.quic.host_cid,  # which its transport parameters repeat
            peer_cid=connection_id,
            version=1,
            is_client=True,
            max_datagram_size=1200,
        )
        builder.start_packet(QuicPacketType.INITIAL, keys)
        frame = builder.start_frame(QuicFrameType.CRYPTO, capacity=len(self.hello) + 8)
        frame.push_bytes(encode_uint_var(0) + encode_uint_var(len(self.hello)) + self.hello)
        datagrams, _ = builder.flush()
        return bytes(datagrams[0])


def test_handshakes_that_do_not_go_on_cost_little(gateway: RunningGateway, authority: Authority) -> None:
    _, peer = split_address(gateway.address)
    before = resident_kb(gateway)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        initials = Initials(peer)
        for number in range(HALF_OPEN):
            one.sendto(initials.packet(number), peer)
            if number % STEP == STEP - 1:
                seen = number + 1 - NOT_ASKED
                eventually(
                    lambda seen=seen: gateway.counter("http3_retries") >= seen, "they are asked for a proof"
                )
        grown = resident_kb(gateway) - before
    assert gateway.counter("connections_active") < HALF_OPEN // 8
    assert grown <= MOST_KB_HALF_OPEN, f"{grown} KB"
