"""Pull dispatch: upstreams without addresses, whose workers connect to the gateway and say when they are idle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypedDict

from pydantic import AfterValidator, Field, model_validator

from .addresses import may_be_bound
from .consistency import Inconsistency
from .errors import ConfigError
from .field_names import check_token
from .limits import TimeoutsConfig
from .redis_url import check_redis_url
from .secrets import Secret
from .settings import OneOrMany, Settings
from .state_folders import states_folder
from .units import MAX_COUNT, Duration, Size

if TYPE_CHECKING:
    from pydantic import SecretStr

    from .model import GatewayConfig
    from .upstreams import UpstreamConfig

PULLED = "unix:/headgate-pull"
"""Stands for the dispatcher in the list of servers; its socket is known when the whole configuration is."""
SHORTEST_TOKEN = 16
MARGIN_S = 2.0
"""What the engine waits for the dispatcher beyond the dispatcher's own limits."""


def _token(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if len(text) < SHORTEST_TOKEN or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError(
            f"a token must have at least {SHORTEST_TOKEN} characters, printable ASCII without spaces",
            hint="create one with `openssl rand -hex 32`",
        )
    return secret


def _caller(value: str) -> str:
    if value == "client":
        return value
    kind, _, name = value.partition(":")
    if kind != "header":
        raise ConfigError(f"`{value}` is not a valid fair_by", hint="write `client` or `header:NAME`")
    return f"header:{check_token(name)}"


def _redis(secret: SecretStr) -> SecretStr:
    check_redis_url(secret.get_secret_value())
    return secret


class PullSharedConfig(Settings):
    """The list in Redis by which several gateways share the idle workers of an upstream."""

    redis: Annotated[Secret, AfterValidator(_redis)] = Field(
        description="Where the list is: `redis://host:6379/0`, or `rediss://` for TLS; as `env:NAME` or `file:/path`."
    )
    list: str = Field(
        pattern=r"^[A-Za-z0-9_.:-]{1,100}$",
        description="The name of the list, which the gateways and the workers have in common.",
    )
    lease: Duration = Field(
        default=10.0,
        ge=1.0,
        description="How long a gateway from which Redis hears nothing keeps the announcements that it has taken.",
    )

    @model_validator(mode="after")
    def _has_a_library(self) -> Self:
        if find_spec("redis") is None:
            raise ConfigError("`shared` needs the redis library", hint="pip install 'headgate[redis]'")
        return self


class PullConfig(Settings):
    """The queue of an upstream with `balance: pull`, and who may take requests from it."""

    tokens: Annotated[tuple[Annotated[Secret, AfterValidator(_token)], ...], OneOrMany()] = Field(
        min_length=1, description="The tokens that workers connect with, as `env:NAME` or `file:/path`."
    )
    queue: int = Field(
        default=1000,
        ge=0,
        le=MAX_COUNT,
        description="The maximum number of requests that wait for a worker; further ones get 503.",
    )
    wait: Duration = Field(
        default=30.0, description="How long a request waits for a worker, after which it gets 503."
    )
    fair_by: Annotated[str, AfterValidator(_caller)] | None = Field(
        default=None,
        description=(
            "Whose requests take turns: `client` (its address, from X-Forwarded-For) or `header:NAME`; each gets the "
            "same share of the workers' time. Null: the order is that of arrival."
        ),
    )
    priority: Annotated[str, AfterValidator(check_token)] | None = Field(
        default=None,
        description=(
            "The request field with the priority, `0` (first) to `7`, or `u=0` to `u=7` (RFC 9218); without it, 3. "
            "Null: all have the same."
        ),
    )
    at_least_once: bool = Field(
        default=False,
        description=(
            "Whether a request that is not idempotent is handed out again if its worker is lost before the response "
            "has begun."
        ),
    )
    attempts: int = Field(
        default=2, ge=1, le=10, description="How often a request is handed out at most, if workers are lost."
    )
    ping: Duration = Field(
        default=10.0,
        ge=0.1,
        description="How often workers are pinged; one from which nothing comes until the next ping is lost.",
    )
    status_path: Annotated[str, Field(pattern=r"^/[\x21-\x3e\x40-\x7e]*$")] | None = Field(
        default=None,
        description=(
            "The path at which the upstream responds with the figures of its queue as JSON, for autoscalers; null: "
            "none."
        ),
    )
    queue_bytes: Size = Field(
        default=64 << 20,
        ge=0,
        description=(
            "The most that the requests in the queue may hold of their bodies, each at most 320 KiB; further ones get "
            "503."
        ),
    )
    keda: bool = Field(
        default=False,
        description="Whether the upstream responds to KEDA as an external scaler (gRPC, `externalscaler.proto`).",
    )
    shared: PullSharedConfig | None = Field(
        default=None,
        description="How several gateways share the workers; null: workers are idle for this gateway alone.",
    )

    @model_validator(mode="after")
    def _has_a_queue(self) -> Self:
        if self.shared is not None and not self.queue:
            raise ConfigError(
                "`queue: 0` does not go with `shared`: each request waits for an announcement",
                hint="write `queue: 1` or more",
            )
        return self


class PullOptions(TypedDict, total=False):
    """`pull` of `Gateway.upstream`; see `PullConfig`."""

    tokens: str | Sequence[str]
    queue: int
    wait: float | str
    fair_by: str
    priority: str
    at_least_once: bool
    attempts: int
    ping: float | str
    status_path: str
    queue_bytes: int | str
    keda: bool
    shared: Mapping[str, Any]


NOT_WITH_PULL = (
    *("health", "outlier", "slow_start", "panic_threshold", "sticky", "proxy_protocol", "source", "tls"),
    *("grpc_web", "lenient", "hedge", "adaptive_limit", "overprovisioning", "locality", "subset_fallback"),
)
"""Settings about servers, of which there are none that the gateway would connect to."""


def check_pull(upstream: UpstreamConfig) -> None:
    """Raises `ConfigError` for settings that do not fit `balance: pull`, or need it."""
    if upstream.balance != "pull":
        if upstream.pull is not None:
            raise ConfigError(
                f"`pull` has no effect with `balance: {upstream.balance}`", hint="write `balance: pull`"
            )
        return
    if upstream.pull is None:
        raise ConfigError(
            "`balance: pull` needs to know its workers", hint="write `pull: {tokens: env:PULL_TOKEN}`"
        )
    if [server.address for server in upstream.servers] != [PULLED]:
        raise ConfigError(
            "an upstream with `balance: pull` has no servers", hint="leave them out: its workers connect"
        )
    if upstream.protocol != "http1":
        raise ConfigError(
            f"`protocol: {upstream.protocol}` has no effect with `balance: pull`", hint="remove it"
        )
    for key in NOT_WITH_PULL:
        default = type(upstream).model_fields[key].get_default(call_default_factory=True)
        if getattr(upstream, key) != default:
            raise ConfigError(f"`{key}` has no effect with `balance: pull`", hint="remove it")


def pull_socket(name: str, place: Path) -> str:
    """The path of the socket that leads to the queue of an upstream of the gateway from `place`: a file, or the folder
    of one that has none.
    """
    digest = hashlib.sha256(f"{place.absolute()}\0{name}".encode()).hexdigest()[:8]
    path = f"{states_folder()}/pull/{digest}.sock"
    if not may_be_bound(path):
        raise Inconsistency(
            ("upstreams", name, "balance"),
            f"the path `{path}` is too long for a socket",
            "set `HEADGATE_STATE_DIR` to a shorter folder",
        )
    return path


def pull_limits(upstream: UpstreamConfig, timeouts: TimeoutsConfig) -> tuple[float, float]:
    """How long a worker may take until its response begins, and how long the engine waits for that, in seconds."""
    own = upstream.timeouts.upstream_head
    limit = timeouts.upstream_head if own is None else own
    wait = upstream.pull.wait if upstream.pull else 0.0
    attempts = upstream.pull.attempts if upstream.pull else 1
    return limit, attempts * (wait + limit) + MARGIN_S


def dispatch_plan(config: GatewayConfig, place: Path) -> dict[str, Any] | None:
    """What the dispatcher has queues for, as of `pull_socket`; None for nothing."""
    queues = [
        _planned(name, upstream, config, place)
        for name, upstream in config.upstreams.items()
        if upstream.pull is not None
    ]
    return {"folder": f"{states_folder()}/pull", "queues": queues} if queues else None


def _planned(name: str, upstream: UpstreamConfig, config: GatewayConfig, place: Path) -> dict[str, Any]:
    pull = upstream.pull
    assert pull is not None, "which was looked at"
    own_idle = upstream.timeouts.upstream_idle
    idle = config.timeouts.upstream_idle if own_idle is None else own_idle
    header = upstream.deadline and upstream.deadline.header
    return {
        "socket": pull_socket(name, place),
        "settings": {
            "upstream": name,
            "tokens": [one.get_secret_value() for one in pull.tokens],
            "queue": pull.queue,
            "wait": pull.wait,
            "timeout": pull_limits(upstream, config.timeouts)[0],
            "fair_by": pull.fair_by and pull.fair_by.lower(),
            "priority": pull.priority and pull.priority.lower(),
            "deadline": header and header.lower(),
            "at_least_once": pull.at_least_once,
            "attempts": pull.attempts,
            # what comes through the gateway is cut when it is silent
            "ping": min(pull.ping, idle / 3),
            "status_path": pull.status_path,
            "queue_bytes": pull.queue_bytes,
            "is_scaler": pull.keda,
            "shared": pull.shared
            and {
                "redis": pull.shared.redis.get_secret_value(),
                "list": pull.shared.list,
                "lease_s": pull.shared.lease,
            },
        },
    }
