"""Content codings undone as a body streams (RFC 9110 section 8.4.1), and never beyond a bound."""

from __future__ import annotations

import zlib
from typing import Any, Protocol

from headgate import ConfigError

from ._bodies import BadBody
from ._codings import PACKAGES

SLICE = 256
"""Bytes of zstd that are decoded at once: 4 bytes can stand for 128 KiB, and the library gives all that it can."""
LARGEST_WINDOW = 8 << 20
"""RFC 8878 section 3.1.1.1.2 asks for no more of decoders."""


class Decoder(Protocol):
    """A body in one coding, as its chunks come."""

    def decoded(self, chunk: bytes, most: int) -> bytes:
        """What the chunk stands for; raises `BadBody` where that is more than `most` bytes, or not in the coding."""

    @property
    def is_whole(self) -> bool:
        """Whether the body may end here."""


def check(coding: str) -> None:
    """Raises `ConfigError` if the library of a coding is not installed."""
    try:
        decoder(coding)
    except ImportError:
        hint = f"pip install 'headgate[compression]' ({PACKAGES[coding]}), or leave `{coding}` out"
        raise ConfigError(f"the library for `{coding}` is not installed", hint=hint) from None


def decoder(coding: str) -> Decoder:
    """A decoder of gzip, deflate, br or zstd."""
    if coding == "br":
        return _Brotli()
    return _Zstandard() if coding == "zstd" else _Zlib(is_gzip=coding == "gzip")


class _Zlib:
    """gzip with any number of members, and deflate both with and without the wrapper of zlib."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._stream: Any = zlib.decompressobj(31) if is_gzip else None
        self._begun = b""

    def decoded(self, chunk: bytes, most: int) -> bytes:
        made, size = [], 0
        if self._stream is None:
            chunk = self._begun + chunk
            if len(chunk) < 2:
                self._begun = chunk
                return b""
            has_wrapper = chunk[0] & 15 == 8 and int.from_bytes(chunk[:2], "big") % 31 == 0
            self._stream = zlib.decompressobj(15 if has_wrapper else -15)
        while chunk:
            if self._stream.eof:
                if not self._is_gzip:
                    raise BadBody("there is something after the end of the coded body")
                self._stream = zlib.decompressobj(31)
            try:
                part = self._stream.decompress(chunk, most - size + 1)
            except zlib.error:
                raise BadBody("the body does not match its Content-Encoding") from None
            size += len(part)
            if size > most:
                raise BadBody("the body is too large when decoded", 413)
            made.append(part)
            chunk = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        return b"".join(made)

    @property
    def is_whole(self) -> bool:
        return self._stream is not None and bool(self._stream.eof)


class _Brotli:
    def __init__(self) -> None:
        import brotli

        self._error: Any = brotli.error
        self._stream: Any = brotli.Decompressor()

    def decoded(self, chunk: bytes, most: int) -> bytes:
        made, size = [], 0
        while True:
            try:
                part = self._stream.process(chunk, output_buffer_limit=most - size + 1)
            except self._error:
                raise BadBody("the body does not match its Content-Encoding") from None
            size += len(part)
            if size > most:
                raise BadBody("the body is too large when decoded", 413)
            made.append(part)
            if self._stream.can_accept_more_data() or not part:
                return b"".join(made)
            chunk = b""

    @property
    def is_whole(self) -> bool:
        return bool(self._stream.is_finished())


class _Zstandard:
    def __init__(self) -> None:
        import zstandard

        self._error: Any = zstandard.ZstdError
        self._library: Any = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
        self._stream: Any = self._library.decompressobj()

    def decoded(self, chunk: bytes, most: int) -> bytes:
        made, size = [], 0
        while chunk:
            if self._stream.eof:
                self._stream = self._library.decompressobj()  # the next frame
            piece, chunk = chunk[:SLICE], chunk[SLICE:]
            try:
                part = self._stream.decompress(piece)
            except self._error:
                raise BadBody("the body does not match its Content-Encoding") from None
            size += len(part)
            if size > most:
                raise BadBody("the body is too large when decoded", 413)
            made.append(part)
            if self._stream.eof:
                chunk = self._stream.unused_data + chunk
        return b"".join(made)

    @property
    def is_whole(self) -> bool:
        return bool(self._stream.eof)
