"""A gRPC server in Python, of grpcio itself: what services of Envoy's protocols are, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc


@contextmanager
def grpc_server(add: Callable[[Any], None], address: str = "127.0.0.1:0") -> Iterator[str]:
    """Serves what `add(server)` adds to it; gives its URL."""
    with ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads, options=[("grpc.so_reuseport", 0)])
        add(server)
        port = server.add_insecure_port(address)
        server.start()
        try:
            yield f"grpc://127.0.0.1:{port}"
        finally:
            server.stop(None).wait()
