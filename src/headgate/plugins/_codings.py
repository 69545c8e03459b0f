"""Content codings (RFC 9110 section 8.4.1): which one a client wants, and bodies that are coded as they stream."""

from __future__ import annotations

import importlib
import re
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from headgate import ConfigError, Headers, ResponseView

ITEM = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]{1,40})\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?")
LONGEST = 1000
PACKAGES = {"br": "brotli", "zstd": "zstandard"}
GZIP = zlib.MAX_WBITS + 16
"""What zlib calls a window of 32 KB in the format of gzip."""
LEVELS = {"gzip": (1, 9, 6), "br": (0, 11, 4), "zstd": (1, 19, 3)}
"""The lowest, the highest, and the one that is used if nothing is said."""

Encode = Callable[[bytes, bool], bytes]
"""What is to be sent for a chunk, all of it; and whether it is the last one."""


def chosen(accept: str, offered: Sequence[str]) -> str | None:
    """The coding that a client with this Accept-Encoding gets (RFC 9110 section 12.5.3): that with the highest weight,
    of those the first that is offered; `None` if it takes none.
    """
    return _chosen(accept[:LONGEST], offered)  # what is remembered is bounded


@lru_cache(1024)
def _chosen(accept: str, offered: Sequence[str]) -> str | None:
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        found = ITEM.fullmatch(part)
        if found:
            weights[found[1].removeprefix("x-")] = float(found[2] or 1)
    usable = {name: weights.get(name, weights.get("*", 0.0)) for name in offered}
    best = max(usable.values(), default=0.0)
    if best <= 0 or best < weights.get("identity", 0.0):
        return None
    return next(name for name in offered if usable[name] == best)


def items(headers: Headers, name: str) -> set[str]:
    """What the lines of a field list, in lower case."""
    return {one.strip().lower() for line in headers.get_all(name) for one in line.split(",")}


def vary(response: ResponseView) -> None:
    """Says that the response depends on what codings the client takes (RFC 9110 section 12.5.5)."""
    headers = response.headers
    if "vary" not in headers or not items(headers, "vary") & {"*", "accept-encoding"}:
        headers.add("vary", "Accept-Encoding")


def check(coding: str) -> None:
    """Raises `ConfigError` if the library of a coding is not installed."""
    try:
        encoder(coding, LEVELS[coding][2])
    except ImportError:
        hint = f"pip install 'headgate[compression]', or leave `{coding}` out"
        raise ConfigError(f"the library for `{coding}` is not installed", hint=hint) from None


@lru_cache
def gzip_library(level: int) -> Any:
    """What compresses at a level: where installed, ISA-L at level 1 and zlib-ng from 3 on, which take a half to
    two thirds of the time for about as many bytes; else zlib. All have its interface.
    """
    if level == 2:
        return zlib  # zlib-ng gives a tenth more for some JSON
    try:
        return importlib.import_module("isal.isal_zlib" if level == 1 else "zlib_ng.zlib_ng")
    except ImportError:
        return zlib


def encoder(coding: str, level: int) -> Encode:
    """A stream of that coding. Each chunk is flushed, so that it arrives when it was sent."""
    if coding == "gzip":
        return _Gzip(level)
    if coding == "br":
        import brotli

        br: Any = brotli.Compressor(quality=level, lgwin=19)
        return lambda chunk, last: br.process(chunk) + (br.finish() if last else br.flush())
    import zstandard

    zstd: Any = zstandard.ZstdCompressor(level=level).compressobj()
    block, end = zstandard.COMPRESSOBJ_FLUSH_BLOCK, zstandard.COMPRESSOBJ_FLUSH_FINISH
    return lambda chunk, last: zstd.compress(chunk) + zstd.flush(end if last else block)


class _Gzip:
    """A stream of gzip (RFC 1952)."""

    __slots__ = ("_level", "_stream")

    def __init__(self, level: int) -> None:
        self._level = level
        self._stream: Any = None

    def __call__(self, chunk: bytes, last: bool) -> bytes:
        if self._stream is None:
            library = gzip_library(self._level)
            if last:  # the whole body: no stream has to be made
                whole: bytes = library.compress(chunk, self._level, GZIP)
                return whole
            self._stream = library.compressobj(self._level, wbits=GZIP)
        made: bytes = self._stream.compress(chunk)
        made += self._stream.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)
        return made
