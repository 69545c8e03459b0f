"""Certificates that have expired or will soon, told by `headgate check` without a library for certificates."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headgate.config.errors import ConfigError, Problem
from headgate.config.errors import Path as ConfigPath
from headgate.config.model import GatewayConfig
from headgate.config.secrets import is_reference, resolved
from headgate.config.tls import PEM
from headgate.gateway import Gateway

SOON = timedelta(days=14)
"""As the log of a running gateway has it."""

BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)


def _is_read(file: Path) -> bool:
    """Whether the engine reads a file of a directory of certificates."""
    is_ignored = file.name.startswith(".") or file.name.endswith(".issuer.crt")
    return file.suffix in (".pem", ".crt") and not is_ignored and file.is_file()


def expiring(gateway: Gateway, config: GatewayConfig, now: datetime | None = None) -> Iterator[Problem]:
    """One for each file with a certificate that has expired, is not valid yet, or expires within `SOON`."""
    now = now or datetime.now(UTC)
    folder, told = gateway._parts.folder, set[str]()
    for path, name in _files(config):
        for shown, text in texts(folder, name):
            if shown not in told and (problem := _problem(shown, text, now)):
                told.add(shown)
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


def texts(folder: Path, name: str) -> Iterator[tuple[str, str]]:
    """What is to be read: what it is called, and the text."""
    if name.startswith(PEM):
        yield f"the configuration ({hashlib.sha256(name.encode()).hexdigest()[:8]})", name
        return
    # what cannot be read is said by the check of the files themselves
    with suppress(OSError, ConfigError):
        if is_reference(name):
            yield f"`{name}`", resolved(name)
            return
        file = folder / name
        files = [file]
        if file.is_dir():
            files = sorted(one for one in (*file.iterdir(), *file.glob("*/fullchain.pem")) if _is_read(one))
        for one in files:
            yield f"`{one}`", one.read_text("ascii", "replace")


def _problem(place: str, text: str, now: datetime) -> Problem | None:
    found = [validity(block) for block in BLOCK.findall(text)]
    times = [one for one in found if one is not None]
    if not times:
        return None
    begin, end = max(one for one, _ in times), min(one for _, one in times)
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
