"""Certificates that have expired or will soon, told by `headgate check` without a library for certificates."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headgate.config.errors import Path as ConfigPath
from headgate.config.errors import Problem
from headgate.config.model import GatewayConfig
from headgate.gateway import Gateway

SOON = timedelta(days=14)
"""As the log of a running gateway has it."""

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SUFFIXES = (".pem", ".crt", ".cer")


def expiring(gateway: Gateway, config: GatewayConfig, now: datetime | None = None) -> Iterator[Problem]:
    """One for each file with a certificate that has expired, is not valid yet, or expires within `SOON`."""
    now = now or datetime.now(UTC)
    folder, told = gateway._parts.folder, set[Path]()
    for path, name in _files(config):
        for file in _listed(folder / name):
            if file not in told and (problem := _problem(file, now)):
                told.add(file)
                yield problem._replace(where=gateway._parts.locate(path), path=path)


def _files(config: GatewayConfig) -> Iterator[tuple[ConfigPath, str]]:
    """Every file with certificates that the configuration names, and where."""
    for position, listener in enumerate(config.listeners):
        if listener.tls is None:
            continue
        path: ConfigPath = ("listeners", position, "tls")
        for number, one in enumerate(listener.tls.certificates):
            yield (*path, "certificates", number, "certificate"), one.certificate
        for ca in listener.tls.client_certificates.ca:
            yield (*path, "client_certificates", "ca"), ca
    for name, upstream in config.upstreams.items():
        if upstream.tls:
            for ca in upstream.tls.ca:
                yield ("upstreams", name, "tls", "ca"), ca
            if upstream.tls.certificate:
                yield ("upstreams", name, "tls", "certificate"), upstream.tls.certificate.certificate


def _listed(file: Path) -> list[Path]:
    if file.is_dir():
        return sorted(one for one in file.iterdir() if one.suffix in _SUFFIXES and one.is_file())
    return [file]


def _problem(file: Path, now: datetime) -> Problem | None:
    try:
        text = file.read_text("ascii", "replace")
    except OSError:
        return None  # which the check of the files themselves says
    found = [validity(block) for block in _BLOCK.findall(text)]
    times = [one for one in found if one is not None]
    if not times:
        return None
    begin, end = max(one for one, _ in times), min(one for _, one in times)
    place = f"`{file}`"
    if begin > now:
        return Problem(f"a certificate in {place} is not valid before {begin:%Y-%m-%d}", "check the clock")
    if end <= now:
        return Problem(f"a certificate in {place} expired on {end:%Y-%m-%d}", "put a new one in its place")
    if end - now <= SOON:
        days = max(1, round((end - now) / timedelta(days=1)))
        return Problem(f"a certificate in {place} expires in {days} day{'s' if days > 1 else ''}", "renew it")
    return None


def validity(base64_text: str) -> tuple[datetime, datetime] | None:
    """Begin and end of a certificate's validity (RFC 5280, 4.1.2.5); none for what is not a certificate."""
    try:
        data = base64.b64decode("".join(base64_text.split()), validate=True)
        fields = _inside(data, _inside(data, 0))
        tag, first, end = _element(data, fields)
        if tag == 0xA0:  # the version
            fields = end
        for _ in range(3):  # serial number, algorithm, issuer
            fields = _element(data, fields)[2]
        times = _element(data, fields)[1]
        tag, first, end = _element(data, times)
        begin = _time(tag, data[first:end])
        tag, first, end = _element(data, end)
        return begin, _time(tag, data[first:end])
    except (ValueError, IndexError, binascii.Error):
        return None


def _inside(data: bytes, at: int) -> int:
    tag, first, _ = _element(data, at)
    if tag != 0x30:
        raise ValueError("not a sequence")
    return first


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, begin and end of the content of the DER element at a position."""
    tag, length, first = data[at], data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, first = int.from_bytes(data[first : first + count], "big"), first + count
    if first + length > len(data):
        raise ValueError("it ends early")
    return tag, first, first + length


def _time(tag: int, text: bytes) -> datetime:
    digits = text.decode("ascii")
    if tag == 0x17:  # UTCTime: two digits of the year, of which 50 is 1950
        digits = ("19" if int(digits[:2]) >= 50 else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
