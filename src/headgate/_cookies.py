"""Cookies as Starlette reads and writes them: `request.cookies`, `response.set_cookie(...)`."""

from __future__ import annotations

import http.cookies
import re
from collections.abc import Iterable
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Literal, Protocol

SameSite = Literal["lax", "strict", "none"]
"""To which requests from other sites a browser adds the cookie (RFC 6265bis section 5.6.7)."""


_ENDS_AN_ATTRIBUTE = re.compile(r"[;\x00-\x1f\x7f]")


class _Fields(Protocol):
    def add(self, name: str, value: str, /) -> None: ...


def read(fields: Iterable[str]) -> dict[str, str]:
    """The cookies of `Cookie` fields by name, the last value of each; quotes are taken off, as browsers' servers do."""
    cookies: dict[str, str] = {}
    for chunk in (chunk for field in fields for chunk in field.split(";")):
        name, equals, value = chunk.partition("=")
        name, value = (name.strip(), value.strip()) if equals else ("", name.strip())
        if name or value:
            cookies[name] = _unquoted(value)
    return cookies


_ESCAPED = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))", re.DOTALL)


def _unquoted(value: str) -> str:
    """As `http.cookies` does it, but in one pass: there it takes seconds for a field of 10 KB (CVE-2024-7592)."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)) if found[1] else found[2], value[1:-1])


class SetsCookies:
    """What has the header fields of a response, and so can set cookies."""

    __slots__ = ()

    headers: Any

    def set_cookie(
        self,
        key: str,
        value: str = "",
        max_age: int | None = None,
        expires: datetime | str | int | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Adds a `Set-Cookie` field (RFC 6265), as in Starlette; `max_age` is seconds. `ValueError` for a bad name."""
        if samesite is not None and samesite.lower() not in ("lax", "strict", "none"):
            raise ValueError(f"`{samesite}` is not a valid samesite; hint: one of lax, strict, none")
        jar: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
        date = format_datetime(expires, usegmt=True) if isinstance(expires, datetime) else expires
        said: dict[str, Any] = {"max-age": max_age, "expires": date, "path": path, "domain": domain}
        said |= {"secure": secure or None, "httponly": httponly or None, "samesite": samesite}
        try:
            jar[key] = value
            for name, told in said.items():
                if told is not None:
                    jar[key][name] = _attribute(name, told)
            text = jar.output(header="").strip()
        except http.cookies.CookieError as error:
            raise ValueError(f"`{key}` is not a valid cookie: {error}") from None
        # `http.cookies` knows the attribute from Python 3.14 on only
        self.headers.add("set-cookie", f"{text}; Partitioned" if partitioned else text)

    def delete_cookie(
        self,
        key: str,
        path: str = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Makes the browser delete a cookie: name, path and domain must be those it was set with."""
        self.set_cookie(key, "", 0, 0, path, domain, secure, httponly, samesite, partitioned)


class CookiesOf(SetsCookies):
    """Sets cookies of a response that is being relayed, of which only the fields are here."""

    __slots__ = ("headers",)

    def __init__(self, headers: _Fields) -> None:
        self.headers = headers


def _attribute(name: str, value: Any) -> Any:
    """The value, which must not begin another attribute."""
    if isinstance(value, str) and _ENDS_AN_ATTRIBUTE.search(value):
        raise ValueError(f"`{value}` is not a valid {name} of a cookie")
    return value
