"""Least connections by hand: what each server is doing in a shared map, and a lock around the choice.

`balance="least_conn"` of an upstream does the same, and forgets the share of a worker that was killed.
"""

import os

from headgate import Gateway, Request, ResponseView

gate = Gateway()
gate.listen(os.environ.get("LISTEN", "127.0.0.1:8080"))
busy = gate.shared("busy", "1m")

servers = []
for number, address in enumerate(os.environ.get("SERVERS", "127.0.0.1:9000,127.0.0.1:9001").split(",")):
    servers.append(f"server{number}")
    gate.upstream(servers[-1], address)


@gate.route("/", to=servers[0])
async def choose(request: Request) -> None:
    """Sends the request to the server that has least to do, over all workers."""
    async with busy.lock("choice", timeout="1s"):
        server = min(servers, key=lambda name: busy.get(name, 0))
        busy.incr(server)
    request.upstream = request.state.server = server


@choose.log
def done(request: Request, response: ResponseView) -> None:
    """Runs for every request, however it ended."""
    if hasattr(request.state, "server"):
        busy.incr(request.state.server, -1)
