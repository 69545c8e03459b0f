"""A handler that makes images smaller, for workers of the plugin `image-resize`:

    headgate pull worker headgate.pull.images:resize --to https://gateway.example.com/_workers

How it works: the head of an image says how many pixels it has. Those and its frames are counted before anything is
decoded, and the process may take so much more memory meanwhile, and no more. Needs
`pip install 'headgate[images]'`.
"""

from __future__ import annotations

import io
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headgate import Response
from headgate.pull.job import Job

FORMATS = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF"}
TYPES = {name: f"image/{name}" for name in FORMATS}
BYTES_PER_PIXEL = 4
COPIES = 6
"""How often the pixels are in memory at most: decoded, turned, converted, made smaller, and on the way between."""
REST_BYTES = 64 << 20


class Refused(ValueError):
    """An image that is not taken."""


def resize(job: Job) -> Response:
    """Makes an image fit into `width` x `height` pixels; `fit`, `format`, `quality` and `max_pixels` are in the query
    too.

    Turned as its EXIF data says, and without any metadata. 415 for what is no image that can be read, 413 for one
    with too many pixels.
    """
    said = job.query
    try:
        most = int(said["max_pixels"])
        with _bounded(REST_BYTES + most * BYTES_PER_PIXEL * COPIES):
            made, kind = _made(job.body, said, most)
    except Refused as error:
        return Response.json({"error": str(error)}, 413)
    except (OSError, ValueError, KeyError, SyntaxError, MemoryError):
        return Response.json({"error": "this is not an image"}, 415)
    return Response(200, made, headers={"content-type": TYPES[kind]})


@contextmanager
def _bounded(more: int) -> Iterator[None]:
    """Lets the process have so many bytes more than it has now; past that Python raises `MemoryError`."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + more
    if before[1] != resource.RLIM_INFINITY:
        limit = min(limit, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _made(body: bytes, said: dict[str, str], most_pixels: int) -> tuple[bytes, str]:
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = None  # they are counted here, with the frames
    with Image.open(io.BytesIO(body), formats=list(FORMATS.values())) as image:
        frames = 1 if image.format == "JPEG" else getattr(image, "n_frames", 1)
        if image.width * image.height > most_pixels or image.width * image.height * frames > most_pixels * 4:
            raise Refused("the image has too many pixels")
        source = str(image.format).lower()
        kind = said.get("format") or source
        image.seek(0)
        if source == "jpeg":
            image.draft("RGB", (int(said.get("width") or 65500), int(said.get("height") or 65500)))
        turned = ImageOps.exif_transpose(image)
        small = _fitted(turned, said)
    out = io.BytesIO()
    options: dict[str, Any] = {"quality": int(said.get("quality", 80))} if kind in ("jpeg", "webp") else {}
    mode = "RGB" if kind == "jpeg" else "RGBA" if "A" in small.getbands() or small.mode == "P" else "RGB"
    clean = Image.new(mode, small.size)  # has none of the metadata
    clean.paste(small.convert(mode))
    clean.save(out, FORMATS[kind], **options)
    return out.getvalue(), kind


def _fitted(image: Any, said: dict[str, str]) -> Any:
    from PIL import Image, ImageOps

    width, height = int(said.get("width") or image.width), int(said.get("height") or image.height)
    if image.mode not in ("RGB", "RGBA", "L", "LA"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if said.get("fit") == "cover":
        size = (min(width, image.width), min(height, image.height))
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    image.thumbnail((width, height), Image.Resampling.LANCZOS)
    return image
