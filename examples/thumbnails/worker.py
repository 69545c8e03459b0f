"""Makes thumbnails, in four processes: see gate.py. Needs Pillow."""

import io
import os

from PIL import Image, UnidentifiedImageError

from headgate import Response
from headgate.pull import Job, Worker

LARGEST = 2000

worker = Worker(
    os.environ.get("GATEWAY", "http://127.0.0.1:8080") + "/_workers", token=os.environ["PULL_TOKEN"]
)


@worker.handler
def thumbnail(job: Job) -> Response:
    """The path ends with the size."""
    size = job.path.rpartition("/")[2]
    if not size.isdigit() or not 0 < int(size) <= LARGEST:
        return Response.json({"error": f"the size must be 1 to {LARGEST}"}, 400)
    try:
        image = Image.open(io.BytesIO(job.body))
        image.thumbnail((int(size), int(size)))
        made = io.BytesIO()
        image.convert("RGB").save(made, "JPEG")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError):
        return Response.json({"error": "this is not an image"}, 415)
    return Response(
        200, made.getvalue(), headers={"content-type": "image/jpeg", "x-worker": str(os.getpid())}
    )


if __name__ == "__main__":
    worker.run(processes=4)
