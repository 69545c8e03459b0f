"""A name server over UDP and TCP on a port of its own, which says what a test wants it to."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Iterable
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

SILENCE = "silence"
"""In place of a response code: there is no response."""


class NameServer:
    """Responds to whoever asks; `records` may change at any time."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.host = host
        self._records: dict[tuple[str, str], list[str]] = {}
        self._codes: dict[str, str] = {}
        self.fails_for: set[tuple[str, str]] = set()
        """Names and types for which there is SERVFAIL."""
        self.ttl = 0
        self.soa_minimum: int | None = None
        """Negative responses carry an SOA record with it."""
        self.most_over_udp: int | None = None
        """Records in a response over UDP; it is cut behind them."""
        self.is_mute_over_tcp = False
        """Whether connections are closed without a response."""
        self.is_rotating = False
        """Whether each response has its records in another order."""
        self.asked: Counter[tuple[str, str, str]] = Counter()
        """How often names were asked for: the name, the type, `udp` or `tcp`."""
        self._lock = threading.Lock()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while True:  # a port that is free for both
            self._udp.bind((host, port))
            self.port: int = self._udp.getsockname()[1]
            try:
                self._tcp = socket.create_server((host, self.port))
                break
            except OSError:
                self._udp.close()
                if port:
                    raise
                self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._threads = [
            threading.Thread(target=one, daemon=True) for one in (self._serve_udp, self._serve_tcp)
        ]

    @property
    def address(self) -> str:
        """Where it is asked."""
        return f"{self.host}:{self.port}"

    def says(self, name: str, kind: str, records: Iterable[str]) -> None:
        """The records of a name from here on; without any, others of it may be there (NODATA)."""
        with self._lock:
            self._records[name, kind] = list(records)
            self._codes.pop(name, None)

    def fails(self, name: str, code: str = "SERVFAIL") -> None:
        """All that is said of a name from here on: a response code, or `SILENCE`."""
        with self._lock:
            self._codes[name] = code

    def queries(self, name: str, kind: str = "A") -> int:
        """How often a name was asked for."""
        return self.asked[name, kind, "udp"] + self.asked[name, kind, "tcp"]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._udp, self._tcp):
            one.shutdown(socket.SHUT_RDWR) if one is self._tcp else None
            one.close()

    def _serve_udp(self) -> None:
        while True:
            try:
                data, peer = self._udp.recvfrom(1 << 16)
                if (response := self._response(data, "udp")) is not None:
                    self._udp.sendto(response, peer)
            except OSError:
                return

    def _serve_tcp(self) -> None:
        while True:
            try:
                accepted, _ = self._tcp.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), accepted:  # who does not trust it ends the handshake
                served = self._tls.wrap_socket(accepted, server_side=True) if self._tls else accepted
                self._respond(served)

    def _respond(self, accepted: socket.socket) -> None:
        with accepted, accepted.makefile("rb") as reading:
            size = reading.read(2)
            if len(size) == 2:
                response = self._response(reading.read(*struct.unpack("!H", size)), "tcp")
                if response is not None:
                    accepted.sendall(struct.pack("!H", len(response)) + response)

    def _response(self, data: bytes, over: str) -> bytes | None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        response = dns.message.make_response(query, recursion_available=True)
        with self._lock:
            self.asked[name, kind, over] += 1
            code = self._codes.get(name)
            if (name, kind) in self.fails_for:
                code = "SERVFAIL"
            records = list(self._records.get((name, kind), ()))
            is_there = any(known == name for known, _ in self._records)
            if self.is_rotating and records:
                turn = self.asked[name, kind, over] % len(records)
                records = records[turn:] + records[:turn]
        if code == SILENCE or (over == "tcp" and self.is_mute_over_tcp):
            return None
        if code is not None or not is_there:
            response.set_rcode(dns.rcode.from_text(code or "NXDOMAIN"))
            records = []
        if over == "udp" and self.most_over_udp is not None and len(records) > self.most_over_udp:
            records = records[: self.most_over_udp]
            response.flags |= dns.flags.TC
        if not records and (alias := self._records.get((name, "CNAME"))):
            response.set_rcode(dns.rcode.NOERROR)
            response.sections[1].append(dns.rrset.from_text(question.name, self.ttl, "IN", "CNAME", *alias))
            target = dns.name.from_text(alias[0])
            more = self._records.get((target.to_text(omit_final_dot=True), kind), [])
            if more:
                response.sections[1].append(dns.rrset.from_text_list(target, self.ttl + 30, "IN", kind, more))
        elif records:
            response.sections[1].append(
                dns.rrset.from_text_list(question.name, self.ttl, "IN", kind, records)
            )
        elif self.soa_minimum is not None:
            soa = f"ns.{name}. hostmaster.{name}. 1 3600 600 86400 {self.soa_minimum}"
            response.authority.append(dns.rrset.from_text(question.name, 3600, "IN", "SOA", soa))
        return response.to_wire(max_size=65535)
