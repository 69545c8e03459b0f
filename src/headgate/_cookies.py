"""Cookies as Starlette reads and writes them: `request.cookies`, `response.set_cookie(...)`."""

from __future__ import annotations

import http.cookies
from collections.abc import Iterable
from datetime import datetime
from email.utils import format_datetime
from typing import Any, Literal, Protocol

SameSite = Literal["lax", "strict", "none"]
"""To which requests from other sites a browser adds the cookie (RFC 6265bis section 5.6.7)."""


class _Fields(Protocol):
    def add(self, name: str, value: str, /) -> None: ...


def read(fields: Iterable[str]) -> dict[str, str]:
    """The cookies of `Cookie` fields by name, the last value of each; quotes are taken off, as browsers' servers do."""
    cookies: dict[str, str] = {}
    for chunk in (chunk for field in fields for chunk in field.split(";")):
        name, equals, value = chunk.partition("=")
        name, value = (name.strip(), value.strip()) if equals else ("", name.strip())
        if name or value:
            cookies[name] = http.cookies._unquote(value)
    return cookies


def set_cookie(
    fields: _Fields,
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
    """Adds a `Set-Cookie` field to the fields of a response; `ValueError` for what no cookie can say."""
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
                jar[key][name] = told
        text = jar.output(header="").strip()
    except http.cookies.CookieError as error:
        raise ValueError(f"`{key}` is not a valid cookie: {error}") from None
    # `http.cookies` knows the attribute from Python 3.14 on only
    fields.add("set-cookie", f"{text}; Partitioned" if partitioned else text)


def delete_cookie(
    fields: _Fields,
    key: str,
    path: str = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: SameSite | None = "lax",
    partitioned: bool = False,
) -> None:
    """Makes the browser delete a cookie: name, path and domain must be those it was set with."""
    set_cookie(fields, key, "", 0, 0, path, domain, secure, httponly, samesite, partitioned)
