"""Forms that clients post: `application/x-www-form-urlencoded` and `multipart/form-data` (RFC 7578)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.multipart import MultipartParser, parse_options_header

MAX_FIELDS = 1000
"""Fields and files in one form; one with more is refused."""

MAX_HEADER_BYTES = 16384
"""Bytes of the header fields of one part."""


@dataclass(frozen=True)
class UploadedFile:
    """A file in a form."""

    filename: str
    content_type: str
    data: bytes


Value = str | UploadedFile
"""What a field of a form holds."""


class Form(Mapping[str, Value]):
    """The fields of a form, in order. Reading gives the first value of a name, `get_all` every one."""

    def __init__(self, fields: list[tuple[str, Value]]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> Value:
        for known, value in self._fields:
            if known == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._fields))

    def __len__(self) -> int:
        return len({name for name, _ in self._fields})

    def __repr__(self) -> str:
        return f"Form({self._fields!r})"

    def get_all(self, name: str) -> list[Value]:
        """Every value of `name`, in order."""
        return [value for known, value in self._fields if known == name]

    def multi_items(self) -> list[tuple[str, Value]]:
        """Every field, in order; a repeated name repeatedly."""
        return list(self._fields)


def parse_options(value: str) -> tuple[str, dict[str, str]]:
    """A field's value and its parameters: `text/html; charset=utf-8`."""
    kind, options = parse_options_header(value.encode("utf-8", "surrogateescape"))
    return kind.decode("latin-1").lower(), {
        name.decode("latin-1").lower(): text.decode("utf-8", "replace") for name, text in options.items()
    }


def parse_form(content_type: str, body: bytes) -> Form:
    """The form in `body`; raises `ValueError` with the reason if there is none."""
    kind, options = parse_options(content_type)
    if kind == "application/x-www-form-urlencoded":
        try:
            pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
        except UnicodeDecodeError:
            raise ValueError("the form is not UTF-8") from None
        return Form(list(pairs))
    if kind == "multipart/form-data" and options.get("boundary"):
        return Form(_Parts(options["boundary"]).read(body))
    raise ValueError(
        f"`{content_type}` is not a form; hint: application/x-www-form-urlencoded and multipart/form-data are"
    )


class _Parts:
    """Collects what the parser finds."""

    def __init__(self, boundary: str) -> None:
        self._fields: list[tuple[str, Value]] = []
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._name = bytearray()
        self._value = bytearray()
        self._data: list[bytes] = []
        self._is_ended = False
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self._data.append(data[start:end]),
            "on_part_end": self._end,
            "on_header_field": lambda data, start, end: self._header(self._name, data[start:end]),
            "on_header_value": lambda data, start, end: self._header(self._value, data[start:end]),
            "on_header_end": self._header_end,
            "on_end": self._finish,
        }
        self._parser = MultipartParser(boundary.encode("latin-1", "replace"), callbacks)

    def read(self, body: bytes) -> list[tuple[str, Value]]:
        """The fields of the whole body."""
        self._parser.write(body)
        self._parser.finalize()
        if not self._is_ended:
            raise ValueError("the form ended prematurely")
        return self._fields

    def _begin(self) -> None:
        if len(self._fields) >= MAX_FIELDS:
            raise ValueError(f"the form has more than {MAX_FIELDS} fields")
        self._headers, self._header_bytes, self._data = {}, 0, []

    def _header(self, collected: bytearray, data: bytes) -> None:
        self._header_bytes += len(data)
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ValueError(f"a part of the form has more than {MAX_HEADER_BYTES} bytes of header fields")
        collected += data

    def _header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("utf-8", "surrogateescape")
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        kind, options = parse_options(self._headers.get("content-disposition", ""))
        if kind != "form-data" or "name" not in options:
            raise ValueError("a part of the form has no name")
        data = b"".join(self._data)
        if "filename" in options:
            content_type = self._headers.get("content-type", "application/octet-stream")
            self._fields.append((options["name"], UploadedFile(options["filename"], content_type, data)))
            return
        try:
            self._fields.append((options["name"], data.decode()))
        except UnicodeDecodeError:
            raise ValueError(f"the field `{options['name']}` is not UTF-8") from None

    def _finish(self) -> None:
        self._is_ended = True
