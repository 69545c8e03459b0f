"""The handler that makes images smaller: sizes, turns, metadata, and files that are not what they seem."""

import io
import resource
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from headgate.pull import Job
from headgate.pull.images import resize


def made(body: bytes, **said: Any) -> tuple[int, Any]:
    query = "&".join(f"{name}={value}" for name, value in {"max_pixels": 1_000_000, **said}.items())
    told = {
        "method": "POST",
        "target": f"/resize?{query}",
        "headers": [],
        "attempt": 1,
        "timeout": 5,
        "has_body": True,
    }
    job = Job(told, lambda size: None, 10_000_000)
    job._body = body
    response = resize(job)
    if response.status != 200:
        return response.status, None
    assert isinstance(response.body, bytes)
    image = Image.open(io.BytesIO(response.body))
    image.load()
    assert response.headers["content-type"] == f"image/{str(image.format).lower()}"
    return 200, image


def picture(
    kind: str = "PNG", size: tuple[int, int] = (400, 200), mode: str = "RGB", **options: Any
) -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, 1 if mode == "P" else "red").save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_an_image_fits_into_what_is_asked_for(kind: str) -> None:
    assert made(picture(kind), width=100)[1].size == (100, 50)
    assert made(picture(kind), height=100)[1].size == (200, 100)
    assert made(picture(kind), width=100, height=20)[1].size == (40, 20)
    assert made(picture(kind), width=100, height=100, fit="cover")[1].size == (100, 100)
    assert made(picture(kind), width=1000)[1].size == (400, 200), "never larger"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_every_mode_becomes_every_format(mode: str, kind: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (40, 20)).save(out, "PNG")
    status, image = made(out.getvalue(), width=10, format=kind)
    assert (status, image.size, str(image.format).lower()) == (200, (10, 5), kind)


def test_cmyk_is_read() -> None:
    assert made(picture("JPEG", mode="CMYK"), width=10)[0] == 200


def test_transparency_stays() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (40, 20), (255, 0, 0, 0)).save(out, "PNG")
    assert made(out.getvalue(), width=10)[1].convert("RGBA").getpixel((1, 1))[3] == 0


def test_the_picture_is_turned_and_its_metadata_goes() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x8825] = {1: "N", 2: (48.0, 0.0, 0.0)}  # where it was taken
    for kind in ("JPEG", "PNG", "WEBP"):
        status, image = made(picture(kind, exif=exif, icc_profile=b"profile"), width=100)
        assert status == 200 and image.size == (100, 200)
        assert not dict(image.getexif()) and not {"exif", "icc_profile", "xmp", "comment"} & set(image.info)


def png(width: int, height: int) -> bytes:
    """A PNG that declares its size and has nothing of it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    head = struct.pack("!IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


def test_pixels_are_counted_before_anything_is_decoded() -> None:
    assert made(png(16384, 16384), width=10) == (413, None)
    assert made(png(1000, 1000), width=10)[0] in (200, 415)
    assert made(picture(size=(1000, 1001)), width=10) == (413, None)


def test_frames_are_counted() -> None:
    frames = [Image.new("RGB", (100, 100), (n * 50, 255 - n * 50, 0)) for n in range(5)]
    for kind in ("GIF", "WEBP", "PNG"):
        out = io.BytesIO()
        frames[0].save(out, kind, save_all=True, append_images=frames[1:])
        assert made(out.getvalue(), width=10, max_pixels=10_000)[0] == 413
        assert made(out.getvalue(), width=10, max_pixels=12_500)[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"GIF89a",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"%PDF-1.4",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
        picture()[:100],
        picture("TIFF"),
        picture("BMP"),
        picture("ICO", size=(32, 32)),
    ],
)
def test_what_is_no_image_of_those_formats_is_refused(body: bytes) -> None:
    assert made(body, width=10) == (415, None)


@pytest.mark.parametrize(
    "said", [{"max_pixels": "x"}, {"width": "x"}, {"format": "exe"}, {"quality": "x", "format": "jpeg"}]
)
def test_jobs_that_are_not_valid_are_refused(said: dict[str, str]) -> None:
    assert made(picture(), **said)[0] == 415


def test_the_process_may_take_so_much_memory_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken: list[bytes] = []

    def greedy(image: Any) -> Any:
        taken.append(bytes(200 << 20))
        return image

    monkeypatch.setattr("PIL.ImageOps.exif_transpose", greedy)
    assert made(picture(), width=10)[0] == 415 and not taken
    assert made(picture(), width=10, max_pixels=20_000_000)[0] == 200 and taken
    assert resource.getrlimit(resource.RLIMIT_AS) == before
