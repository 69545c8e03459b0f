"""Which URLs of a Redis are taken where redis-py connects: what it would find out at its first connection is said
at once.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from headgate._digits import whole_number

from .errors import ConfigError

TLS_OPTIONS = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_HINT = "write `redis://host:6379/0`, or `rediss://` for TLS"


def check_redis_url(url: str) -> None:
    """Raises `ConfigError` for what is not `redis://` or `rediss://`, a host, and maybe a port and a database.

    Only `TLS_OPTIONS` and `db` may follow: others would replace what the gateway itself says
    to redis-py, or be refused by it when it connects.
    """
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("redis", "rediss") and bool(parts.hostname)
        is_valid = is_valid and parts.port != 0 and not parts.fragment
    except ValueError:  # a port that is none, or brackets
        is_valid = False
    if not is_valid:
        raise ConfigError("not a Redis URL", hint=_HINT)
    database = parts.path.removeprefix("/")
    options = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in [("db", database or "0"), *options]:
        if name == "db" and whole_number(value) is None:
            raise ConfigError("the database of the Redis is not a number", hint=_HINT)
        if name != "db" and not (name in TLS_OPTIONS and parts.scheme == "rediss"):
            raise ConfigError(
                f"`{name[:100]}` is not an option of a Redis URL",
                hint=f"leave it out; with `rediss://`, there are {', '.join(TLS_OPTIONS)}",
            )
