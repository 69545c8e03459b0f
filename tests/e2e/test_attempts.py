"""How often a request reaches servers over all mechanisms together, and which servers one connection leads to."""

import contextlib
from collections import Counter

from e2e.kit import Origin, Serve
from e2e.kit.http2 import Http2Client
from e2e.kit.http2_server import Http2Server, Stream


def test_retries_count_for_all_servers_and_the_fallback_has_one_attempt_more(serve: Serve) -> None:
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Origin()) for _ in range(5)]
        last = stack.enter_context(Origin())
        for one in (*servers, last):
            one.on("/reset", lambda call: call.reset())
        gateway = serve(
            {
                "upstreams": {
                    "u": {
                        "servers": [f"{one.address} max_fails=0" for one in servers],
                        "retries": {"attempts": 2, "budget": "100%"},
                        "fallback": {"upstream": "other"},
                    },
                    "other": {"servers": f"{last.address} max_fails=0", "retries": 0},
                },
                "routes": [{"to": "u"}],
            },
            workers=1,
        )
        assert gateway.get("/reset").status == 502
        assert sum(len(one.at("/reset")) for one in servers) == 3
        assert len(last.at("/reset")) == 1


def test_requests_of_one_connection_over_http2_go_to_all_servers(serve: Serve) -> None:
    def named(stream: Stream) -> None:
        stream.respond(str(id(stream.connection.state)).encode())

    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Http2Server(named)) for _ in range(4)]
        upstream = {"servers": [one.address for one in servers], "protocol": "h2"}
        gateway = serve({"upstreams": {"u": upstream}, "routes": [{"to": "u"}]}, workers=1)
        with Http2Client(gateway.address) as client:
            found = Counter(client.get("/").body for _ in range(20))
        assert sorted(found.values()) == [5, 5, 5, 5]
