"""Log targets: where the access log is sent over the network, in batches, beside or in place of `access_log`."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypedDict
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, model_validator

from .consistency import Inconsistency
from .errors import ConfigError
from .secrets import Secret
from .settings import Settings
from .units import Duration, Size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .model import GatewayConfig

Kind = Literal["http", "loki", "lines", "syslog", "kafka"]
Sasl = Literal["plain", "scram-sha-256", "scram-sha-512"]
Transport = Literal["http", "https", "tcp", "tls", "udp", "unix"]

HINT = (
    "write `https://host/path`, `loki:http://host:3100`, `kafka:tcp://host:9092/topic`, `tcp://host:port`,"
    " `tls://host:port`, `udp://host:port` or `syslog:` followed by `/dev/log`, `udp://host:514`, `tcp://host:514` or `tls://host:6514`"
)
LOKI_PATH = "/loki/api/v1/push"
DEFAULT_PORTS = {"http": 80, "https": 443}
_KINDS: dict[str, Kind] = {"syslog": "syslog", "loki": "loki"}
_TRANSPORTS: dict[str, Transport] = {
    "http": "http",
    "https": "https",
    "tcp": "tcp",
    "tls": "tls",
    "udp": "udp",
}
_LABEL, _FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}"), re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")


_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")


class Destination(NamedTuple):
    """A `to` taken apart; `path` is of HTTP, or of a Unix socket, or a topic; its `host` are `host:port` of brokers."""

    kind: Kind
    transport: Transport
    host: str
    port: int
    path: str


def destination(to: str) -> Destination:
    """Takes a `to` apart; raises `ConfigError`."""
    prefix, _, rest = to.partition(":")
    if prefix == "syslog" and rest.startswith("/") and not rest.startswith("//"):
        return Destination("syslog", "unix", "", 0, rest)
    if prefix == "kafka":
        return _kafka(to, rest)
    kind = _KINDS.get(prefix)
    parts, port = _split(to, rest if kind else to)
    transport = _TRANSPORTS.get(parts.scheme)
    if transport is None or (kind == "syslog" and transport in DEFAULT_PORTS):
        raise _refused(to)
    if transport not in DEFAULT_PORTS:
        if kind == "loki" or not port or parts.path or parts.query:
            raise _refused(to)
        return Destination(kind or "lines", transport, parts.hostname or "", port, "")
    path = parts.path if parts.path not in ("", "/") else LOKI_PATH if kind else "/"
    whole = f"{path}?{parts.query}" if parts.query else path
    return Destination(
        kind or "http", transport, parts.hostname or "", port or DEFAULT_PORTS[transport], whole
    )


def _kafka(to: str, rest: str) -> Destination:
    scheme, _, after = rest.partition("://")
    brokers, _, topic = after.partition("/")
    if scheme not in ("tcp", "tls") or not _TOPIC.fullmatch(topic):
        raise _refused(to)
    for broker in brokers.split(","):
        parts, port = _split(to, f"{scheme}://{broker}")
        if not port or parts.path or parts.query:
            raise _refused(to)
    return Destination("kafka", _TRANSPORTS[scheme], brokers, 0, topic)


def _split(to: str, url: str) -> tuple[SplitResult, int | None]:
    if re.search(r"[\s\x00-\x20\x7f-\U0010ffff]", url):
        raise _refused(to)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused(to) from None
    if parts.username is not None:
        raise ConfigError(
            "a log target has no user and password in its URL",
            hint='write `headers: {authorization: "env:NAME"}`',
        )
    if not parts.hostname or parts.fragment:
        raise _refused(to)
    return parts, port


def _refused(to: str) -> ConfigError:
    return ConfigError(f"`{to}` is not a valid log target", hint=HINT)


def _target(to: str) -> str:
    destination(to)
    return to


def _label(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise ConfigError(
            f"`{name}` is not a valid label", hint="use letters, digits and `_`, not a digit first"
        )
    return name


def _field(name: str) -> str:
    if not _FIELD.fullmatch(name):
        raise ConfigError(
            f"`{name}` is not a valid header field name", hint="write a name such as `authorization`"
        )
    if name.lower() in ("host", "content-length", "content-type", "transfer-encoding", "connection"):
        raise ConfigError(f"`{name}` is set by the gateway", hint="leave it out")
    return name


class LogTargetConfig(Settings):
    """Where each line of the access log is sent, as JSON; the destination alone is the short form."""

    short_forms: ClassVar = (
        {"type": "string", "examples": ["loki:http://loki:3100", "tcp://collector:5170"]},
    )

    to: Annotated[str, AfterValidator(_target)] = Field(
        description=(
            "`https://host/path` (a JSON array a batch), `loki:http://host:3100`, "
            "`kafka:tcp://host:9092/topic` or `kafka:tls://` (a message each), `tcp://host:port` or `tls://host:port` "
            "(a line each), `udp://host:port` (a datagram each), or `syslog:` with `/dev/log`, "
            "`udp://`, `tcp://` or `tls://` (RFC 5424)."
        ),
    )
    headers: dict[Annotated[str, AfterValidator(_field)], Secret] = Field(
        default_factory=dict,
        description="Header fields of requests over HTTP, such as `authorization`, as `env:NAME` or `file:/path`.",
    )
    labels: dict[Annotated[str, AfterValidator(_label)], str] = Field(
        default_factory=dict, description='Labels of the stream in Loki; default: `job: "headgate"`.'
    )
    ca: str | None = Field(
        default=None,
        min_length=1,
        description="A PEM file with the certificate authority of the target; null: the system's.",
    )
    user: str | None = Field(default=None, min_length=1, description="The user at Kafka's brokers (SASL).")
    password: Secret | None = Field(
        default=None, description="The user's password, as `env:NAME` or `file:/path`."
    )
    sasl: Sasl = Field(default="scram-sha-512", description="How the password is proven to the brokers.")
    batch: int = Field(default=1000, ge=1, le=100_000, description="The maximum number of lines in a batch.")
    batch_bytes: Size = Field(
        default=1 << 20, ge=1024, description="Bytes of lines after which a batch is sent."
    )
    flush: Duration = Field(
        default=1.0, description="The maximum time that a line waits for its batch to fill."
    )
    queue: int = Field(
        default=100_000,
        ge=1,
        description="Lines kept in memory while the target is unavailable; further ones are dropped and counted.",
    )
    queue_bytes: Size = Field(default=64 << 20, ge=1024, description="Bytes of such lines.")
    timeout: Duration = Field(default=10.0, description="The maximum time for sending one batch.")

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"to": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        where = destination(self.to)
        speaks_http = where.transport in ("http", "https")
        if self.headers and not speaks_http:
            raise ConfigError(f"`headers` has no effect with `{self.to}`", hint="it is for targets over HTTP")
        if any(re.search(r"[\r\n\0]", secret.get_secret_value()) for secret in self.headers.values()):
            raise ConfigError("a header field has a line end", hint="write it on one line")
        if self.labels and where.kind != "loki":
            raise ConfigError(
                f"`labels` has no effect with `{self.to}`", hint="write `loki:http://host:3100`"
            )
        if (self.user or self.password) and where.kind != "kafka":
            raise ConfigError(f"`user` has no effect with `{self.to}`", hint="it is for `kafka:` targets")
        if self.sasl != type(self).model_fields["sasl"].default and self.user is None:
            raise ConfigError("`sasl` has no effect without `user`", hint="set `user` and `password`")
        if (self.user is None) != (self.password is None):
            raise ConfigError("`user` and `password` belong together", hint="write both, or neither")
        if self.ca and where.transport not in ("https", "tls"):
            raise ConfigError(f"`ca` has no effect with `{self.to}`", hint="it is for targets over TLS")
        return self


class LogTargetOptions(TypedDict, total=False):
    """The keywords of `Gateway.log_target`; see `LogTargetConfig`."""

    headers: Mapping[str, str]
    labels: Mapping[str, str]
    ca: str
    user: str
    password: str
    sasl: Sasl
    batch: int
    batch_bytes: int | str
    flush: float | str
    queue: int
    queue_bytes: int | str
    timeout: float | str


def shipping_plan(config: GatewayConfig, folder: Path) -> dict[str, Any] | None:
    """What the shipper is to send where; None for nothing. Files are relative to `folder`."""
    for position, one in enumerate(config.log_targets):
        if destination(one.to).kind == "kafka" and not find_spec("aiokafka"):
            raise Inconsistency(
                ("log_targets", position, "to"),
                "Kafka as a log target needs the package `aiokafka`",
                "pip install 'headgate[kafka]'",
            )
        if one.ca and not (folder / one.ca).is_file():
            raise Inconsistency(
                ("log_targets", position, "ca"),
                f"the file `{one.ca}` does not exist",
                "name a PEM file with the certificate authority of the target",
            )
    targets = [_planned(one, folder) for one in config.log_targets]
    return {"targets": targets} if targets else None


def _planned(target: LogTargetConfig, folder: Path) -> dict[str, Any]:
    return {
        **target.model_dump(exclude={"headers", "ca", "password"}),
        **destination(target.to)._asdict(),
        "headers": {name.lower(): secret.get_secret_value() for name, secret in target.headers.items()},
        "labels": target.labels or {"job": "headgate"},
        "password": target.password.get_secret_value() if target.password else None,
        "ca": str(folder / target.ca) if target.ca else None,
    }
