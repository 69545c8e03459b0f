"""Requests without a hook beside jobs that compute."""

import os
import time

from headgate import Gateway, Request, Response

gate = Gateway()
gate.listen(os.environ.get("BENCH_JOBS", "127.0.0.1:22018"))
gate.background_limits(processes=2)
gate.route("/", to=os.environ.get("BENCH_ORIGIN", "127.0.0.1:21000"))


def burn(seconds: float) -> int:
    """Computes for so long."""
    end, rounds = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        rounds += sum(range(1000)) > 0
    return rounds


@gate.route("/burn/{seconds}")
async def compute(request: Request) -> Response:
    """Computes in another process."""
    return Response.json(await gate.run_in_process(burn, float(request.params["seconds"])))
