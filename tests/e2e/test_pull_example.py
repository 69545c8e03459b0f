"""The thumbnail service of the examples: four workers, one of which is killed."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e.kit import RawResponse, RunningGateway, Serve, eventually
from e2e.kit.pull import TOKEN
from PIL import Image

EXAMPLE = Path(__file__).parents[2] / "examples" / "thumbnails"


@pytest.fixture
def service(serve: Serve) -> Iterator[RunningGateway]:
    text = (EXAMPLE / "gate.py").read_text().replace('os.environ.get("LISTEN", "127.0.0.1:8080")', "LISTEN")
    gateway = serve(text, environment={"PULL_TOKEN": TOKEN})
    workers = subprocess.Popen(
        [sys.executable, str(EXAMPLE / "worker.py")],
        env={**os.environ, "PULL_TOKEN": TOKEN, "GATEWAY": f"http://{gateway.address}"},
        stdin=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: idle(gateway) == 4, "four workers are idle", within=40)
        yield gateway
    finally:
        workers.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            workers.wait(timeout=15)
        workers.kill()
        workers.wait()


def idle(gateway: RunningGateway) -> int:
    response = gateway.get("/queue")
    return int(response.json()["idle"]) if response.status == 200 else 0


def picture(side: int) -> bytes:
    made = io.BytesIO()
    Image.effect_noise((side, side // 2), 50).save(made, "PNG")
    return made.getvalue()


def thumbnail(gateway: RunningGateway, size: str, body: bytes) -> RawResponse:
    return gateway.post(f"/thumbnails/{size}", body)


def test_images_are_made_smaller_and_others_are_refused(service: RunningGateway) -> None:
    response = thumbnail(service, "100", picture(400))
    assert response.status == 200
    assert response.get("content-type") == "image/jpeg"
    assert Image.open(io.BytesIO(response.body)).size == (100, 50)
    assert thumbnail(service, "100", b"no image").status == 415
    assert thumbnail(service, "0", picture(10)).status == 400


def test_no_image_is_lost_when_a_worker_is_killed(service: RunningGateway) -> None:
    small, large = picture(100), picture(1300)  # which is kept whole, below 1 MiB
    victim = int(thumbnail(service, "10", small).get("x-worker") or 0)
    with ThreadPoolExecutor(12) as pool:
        asked = [
            pool.submit(thumbnail, service, "50", large if number % 4 == 0 else small) for number in range(60)
        ]
        os.kill(victim, signal.SIGKILL)
        made = [one.result() for one in asked]
    assert [one.status for one in made] == [200] * 60
    assert all(Image.open(io.BytesIO(one.body)).size == (50, 25) for one in made)
    eventually(lambda: idle(service) == 4, "the worker is replaced", within=40)
