"""Servers and clients that speak bytes and datagrams, and nothing more."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable


class StreamServer:
    """A TCP server in threads: each connection is given to `serve`."""

    def __init__(self, serve: Callable[[socket.socket], None], host: str = "127.0.0.1") -> None:
        self.serve = serve
        self.listener = socket.create_server((host, 0))
        self.address = f"{host}:{self.listener.getsockname()[1]}"
        self.peers: list[tuple[str, int]] = []
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self) -> "StreamServer":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, peer = self.listener.accept()
                self.peers.append(peer[:2])
                self._open.add(connection)
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self.serve(connection)
        self._open.discard(connection)


def echo(connection: socket.socket) -> None:
    """Sends back what comes; at the client's end says `bye`."""
    while data := connection.recv(1 << 16):
        connection.sendall(data)
    connection.sendall(b"bye")


class DatagramServer:
    """A UDP server in a thread: responds to each datagram with its name and the datagram."""

    def __init__(self, name: bytes = b"") -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.received: list[bytes] = []
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> "DatagramServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopped = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self.socket.getsockname())
        self._thread.join(timeout=5)
        self.socket.close()

    def _run(self) -> None:
        while True:
            data, peer = self.socket.recvfrom(1 << 16)
            if self._is_stopped:
                return
            self.received.append(data)
            self.socket.sendto(self.name + data, peer)


def client_hello(name: str | None, alpn: list[str] | None = None) -> bytes:
    """The first message of a TLS client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()
