"""libmodsecurity, the engine of the OWASP Core Rule Set, by its C interface (`modsecurity/modsecurity.h`).

How it works: an engine has the rules, read once; each request is a transaction of its own, which goes through the
phases of rules for requests: address and target, fields, body. After each of them the engine may want to intervene.
What rules log comes by a callback. Nothing here uses the gateway: `_waf_engine.py` runs it in a process of its own.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Sequence
from ctypes import POINTER, Structure, c_char_p, c_int, c_size_t, c_void_p
from typing import Any, NamedTuple

LIBRARY = "libmodsecurity.so.3"
RULE = re.compile(r'\[id "([0-9]{1,12})"\]')
MOST_RULES_LOGGED = 20
MOST_LOGGED_BYTES = 4096
LOGGED = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)


class Facts(NamedTuple):
    """A request as the engine is told of it."""

    client: str
    port: int
    method: str
    target: str
    version: str
    fields: Sequence[tuple[bytes, bytes]]
    body: bytes


class Verdict(NamedTuple):
    """What the engine wants done with a request."""

    status: int
    url: str | None
    """Where a rule redirects to."""
    rules: list[str]
    """The ids of rules that matched and log, in the order of their match."""


class _Intervention(Structure):
    _fields_ = [
        ("status", c_int),
        ("pause", c_int),
        ("url", c_void_p),
        ("log", c_void_p),
        ("disruptive", c_int),
    ]


class ModSecurity:
    """An engine and its rules; one request at a time."""

    def __init__(self, rules: Iterable[Sequence[str]]) -> None:
        """Takes files (`file`, a path) and texts (`text`, directives); raises `ValueError` for what is not valid."""
        self._library = _loaded()
        self._matched: list[str] = []
        self._callback = LOGGED(self._logged)
        self._engine = self._library.msc_init()
        self._library.msc_set_connector_info(self._engine, b"headgate")
        self._library.msc_set_log_cb(self._engine, self._callback)
        self._rules = self._library.msc_create_rules_set()
        for kind, said in rules:
            self._add(kind, said)

    def judge(self, facts: Facts) -> Verdict | None:
        """What is to be done with a request, `None` if nothing; takes the time that the rules need."""
        self._matched = []
        transaction = self._library.msc_new_transaction(self._engine, self._rules, None)
        try:
            return self._phases(transaction, facts)
        finally:
            self._library.msc_transaction_cleanup(transaction)

    def _phases(self, transaction: int, facts: Facts) -> Verdict | None:
        library = self._library
        library.msc_process_connection(transaction, facts.client.encode(), facts.port, b"127.0.0.1", 80)
        target = facts.target.encode("utf-8", "surrogateescape")
        library.msc_process_uri(transaction, target, facts.method.encode(), facts.version.encode())
        for name, value in facts.fields:
            library.msc_add_n_request_header(transaction, name, len(name), value, len(value))
        library.msc_process_request_headers(transaction)
        if verdict := self._verdict(transaction):
            return verdict
        if facts.body:
            library.msc_append_request_body(transaction, facts.body, len(facts.body))
        library.msc_process_request_body(transaction)
        return self._verdict(transaction)

    def _verdict(self, transaction: int) -> Verdict | None:
        found = _Intervention(200, 0, None, None, 0)
        try:
            wants = self._library.msc_intervention(transaction, ctypes.byref(found))
            if not wants or not found.disruptive:
                return None
            if found.log:
                self._noted(
                    ctypes.string_at(found.log)
                )  # of the rule that intervenes, which is not called back
            url = ctypes.string_at(found.url).decode("utf-8", "replace") if found.url else None
            status = found.status if 300 <= found.status <= 599 else 403
            return Verdict(status, url, list(self._matched))
        finally:
            for pointer in (found.url, found.log):
                if pointer:
                    _free(pointer)

    def _logged(self, data: Any, message: int | None) -> None:
        if message is not None:
            self._noted(ctypes.string_at(message))

    def _noted(self, message: bytes) -> None:
        found = RULE.search(message[:MOST_LOGGED_BYTES].decode("utf-8", "replace"))
        if found and found[1] not in self._matched and len(self._matched) < MOST_RULES_LOGGED:
            self._matched.append(found[1])

    def _add(self, kind: str, said: str) -> None:
        error = c_char_p()
        add = self._library.msc_rules_add_file if kind == "file" else self._library.msc_rules_add
        if add(self._rules, said.encode(), ctypes.byref(error)) >= 0:
            return
        reason = (error.value or b"no reason given").decode("utf-8", "replace").strip()
        where = f"the rules of `{said}` are" if kind == "file" else "`directives` are"
        raise ValueError(f"{where} not valid: {' '.join(reason.split())[:400]}")


def _free(pointer: int) -> None:
    """Frees what the library allocated and gave away."""
    free = ctypes.CDLL(None).free
    free.argtypes, free.restype = [c_void_p], None
    free(pointer)


def _loaded() -> Any:
    """The library with the types of its functions; raises `OSError` where it is not installed."""
    library: Any = ctypes.CDLL(LIBRARY)
    pointer, text, error = c_void_p, c_char_p, POINTER(c_char_p)
    for name, result, arguments in (
        ("msc_init", pointer, []),
        ("msc_set_connector_info", None, [pointer, text]),
        ("msc_set_log_cb", None, [pointer, LOGGED]),
        ("msc_cleanup", None, [pointer]),
        ("msc_create_rules_set", pointer, []),
        ("msc_rules_add_file", c_int, [pointer, text, error]),
        ("msc_rules_add", c_int, [pointer, text, error]),
        ("msc_rules_cleanup", c_int, [pointer]),
        ("msc_new_transaction", pointer, [pointer, pointer, pointer]),
        ("msc_process_connection", c_int, [pointer, text, c_int, text, c_int]),
        ("msc_process_uri", c_int, [pointer, text, text, text]),
        ("msc_add_n_request_header", c_int, [pointer, text, c_size_t, text, c_size_t]),
        ("msc_process_request_headers", c_int, [pointer]),
        ("msc_append_request_body", c_int, [pointer, text, c_size_t]),
        ("msc_process_request_body", c_int, [pointer]),
        ("msc_intervention", c_int, [pointer, POINTER(_Intervention)]),
        ("msc_transaction_cleanup", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
