"""Routes: which requests, and what becomes of them."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from .bandwidth import BandwidthConfig
from .errors import ConfigError, suggestion
from .field_names import TOKEN
from .hooks import OnError, Reference, RouteHooksConfig
from .limits import RouteTimeoutsConfig
from .patterns import check_host, check_method, check_path, parameters
from .placement import SubsetWanted
from .plugin_sets import SetNames
from .route_metrics import RouteMetricsConfig
from .settings import OneOrMany, Settings
from .tls import RouteCertificate
from .units import Duration, Size

ACTIONS = ("to", "redirect", "respond", "files")
"""The keys of which a route has at most one; without any, a request hook must respond."""

_ACTIONS = frozenset(ACTIONS)

_PLACES = ("scheme", "host", "path", "query", "target")
"""What a location may hold in braces besides the parameters of the route's path."""

_BRACES = re.compile(r"\{([^{}]*)\}")


def _prefix(value: str) -> str:
    if not value.startswith("/"):
        raise ConfigError(f"`{value}` is not a valid path prefix", hint=f"write `/{value}`")
    return value


def _conditions(value: Any) -> Any:
    """`{"x-a": True}` as `{"x-a": None}` and `{"x-a": False}` as `{"!x-a": None}`; one name alone must be present."""
    if isinstance(value, str):
        return {value: None}
    if not isinstance(value, Mapping):
        return value
    return {
        (f"!{name}" if wanted is False else name): None if isinstance(wanted, bool) else wanted
        for name, wanted in value.items()
    }


def _fields(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not TOKEN.fullmatch(name) or re.search(r"[\r\n\0]", text):
            raise ConfigError(
                f"`{name}: {text}` is not a valid header field",
                hint="a name has no spaces, a value is one line",
            )
    return value


_CONDITIONS_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {"type": "object", "additionalProperties": {"type": ["string", "boolean", "null"]}},
    ]
}

Conditions = Annotated[
    dict[str, str | None], BeforeValidator(_conditions), WithJsonSchema(_CONDITIONS_SCHEMA)
]
"""Names and the values wanted: a text, `~regex`, null or true for any value; `!name` or false for absence."""


def _header_conditions(value: dict[str, str | None]) -> dict[str, str | None]:
    for name in value:
        if not TOKEN.fullmatch(name.removeprefix("!")):
            raise ConfigError(
                f"`{name}` is not a valid header field name", hint="a name has no spaces: `x-version`"
            )
    return value


HeaderConditions = Annotated[Conditions, AfterValidator(_header_conditions)]
"""Conditions on header fields."""

Prefix = Annotated[str, AfterValidator(_prefix)]
"""The beginning of a path."""


class RedirectConfig(Settings):
    """A redirect. Short form: its location."""

    short_forms: ClassVar = ({"type": "string", "examples": ["https://{host}{path}"]},)

    location: str = Field(
        min_length=1,
        pattern=r"^[\x21-\x7e]+$",
        description=(
            "The URL or path; may contain `{scheme}`, `{host}`, `{path}`, `{query}`, `{target}` (path and "
            "query) and path parameters."
        ),
    )
    status: Literal[301, 302, 303, 307, 308] = Field(
        default=308, description="The status; 308 preserves the method and is cacheable."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"location": value} if isinstance(value, str) else value


class RespondConfig(Settings):
    """A fixed response. Short form: its body or its status."""

    short_forms: ClassVar = ({"type": "string"}, {"type": "integer"})

    status: int = Field(default=200, ge=200, le=599, description="The status.")
    headers: Annotated[dict[str, str], AfterValidator(_fields)] = Field(
        default_factory=lambda: {"content-type": "text/plain; charset=utf-8"},
        description="The header fields.",
    )
    body: str = Field(default="", description="The body.")

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short forms."""
        if isinstance(value, int) and not isinstance(value, bool):
            return {"status": value}
        return {"body": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _refuse_lost_body(self) -> Self:
        if self.body and self.status in (204, 205, 304):
            raise ConfigError(f"a response with status {self.status} has no body", hint="remove `body`")
        return self


class FilesConfig(Settings):
    """Static files. Short form: their directory."""

    short_forms: ClassVar = ({"type": "string", "examples": ["./public"]},)

    root: str = Field(
        min_length=1, description="The directory, absolute or relative to that of the configuration file."
    )
    index: Annotated[tuple[str, ...], OneOrMany()] = Field(
        default=("index.html",), description="The files that are tried for a directory."
    )

    @classmethod
    def expand(cls, value: Any) -> Any:
        """Reads the short form."""
        return {"root": str(value)} if not isinstance(value, dict | FilesConfig) else value


_NO_TIMEOUTS = RouteTimeoutsConfig()
_NO_HOOKS = RouteHooksConfig()
_NO_METRICS = RouteMetricsConfig()
# one each for all routes that say nothing: there may be many


class RouteConfig(Settings):
    """Conditions on requests, and an action for those that match."""

    name: str | None = Field(
        default=None, min_length=1, description="The name in logs; default: made from host and path."
    )
    path: Annotated[str, AfterValidator(check_path)] = Field(
        default="/",
        description=(
            "`/x` (exactly), `/x/*` (and everything below), `/{name}/*` (with parameters), `~regex`; `/` "
            "matches every path."
        ),
    )
    host: Annotated[tuple[Annotated[str, AfterValidator(check_host)], ...], OneOrMany()] = Field(
        default=(),
        description="`example.com`, `*.example.com`, `www.*` or `~regex`; one or several; default: every host.",
    )
    methods: Annotated[tuple[Annotated[str, AfterValidator(check_method)], ...], OneOrMany()] = Field(
        default=(),
        description="The allowed methods; default: every method. Others give 405 if no other route matches.",
    )
    headers: HeaderConditions = Field(
        default_factory=dict,
        description="Required header fields: a value, `~regex`, true (present) or false (absent).",
    )
    query: Conditions = Field(
        default_factory=dict,
        description="Required query parameters: a value, `~regex`, true (present) or false (absent).",
    )
    when: Reference | None = Field(
        default=None,
        description=(
            "A Python function that gets the request and returns whether it matches. If it raises, the "
            "response is 500; with `on_error: open` it counts as no match."
        ),
    )
    priority: int = Field(
        default=0,
        ge=-(1 << 31),
        lt=1 << 31,
        description="Routes with a higher priority are tried first, before all other rules apply.",
    )
    to: str | None = Field(
        default=None, min_length=1, description="The name of an upstream, or the address of a server."
    )
    subset: SubsetWanted | None = Field(
        default=None,
        description="The metadata of the servers of `to` that requests go to; default: all servers.",
    )
    redirect: RedirectConfig | None = Field(default=None, description="A redirect.")
    respond: RespondConfig | None = Field(default=None, description="A fixed response.")
    files: FilesConfig | None = Field(default=None, description="Static files.")
    strip_prefix: Prefix | None = Field(
        default=None,
        description="A prefix that is removed from the path before forwarding or looking up files.",
    )
    replace_prefix: Prefix | None = Field(
        default=None, description="The replacement for `strip_prefix`, or a prefix that is added to the path."
    )
    max_body_bytes: Size | None = Field(
        default=None,
        description="The maximum bytes of a request body; default: the gateway's; 0 means no limit.",
    )
    bandwidth: Annotated[tuple[BandwidthConfig, ...], OneOrMany()] = Field(
        default=(), description="Limits of bandwidth, one or several; default: none."
    )
    client_certificate: RouteCertificate | None = Field(
        default=None,
        description=(
            "`required`: 400 without a valid client certificate; `any`: no certificate needed; default: "
            "as on the listener."
        ),
    )
    timeouts: RouteTimeoutsConfig = Field(
        default_factory=lambda: _NO_TIMEOUTS, description="Time limits on this route."
    )
    deadline: Duration | None = Field(
        default=None, description="The deadline of each of the route's own hooks."
    )
    on_error: OnError | None = Field(
        default=None, description="What happens when one of the route's own hooks fails."
    )
    hooks: RouteHooksConfig = Field(
        default_factory=lambda: _NO_HOOKS, description="Hooks of its own, by phase."
    )
    metrics: RouteMetricsConfig = Field(
        default_factory=lambda: _NO_METRICS, description="What of its metrics is its own."
    )
    plugin_sets: SetNames = Field(default=(), description="Sets of plugins that are used on it, by name.")

    @property
    def has_action(self) -> bool:
        """Whether it says what becomes of a request, so that no hook has to respond."""
        return bool(self.to or self.redirect or self.respond or self.files)

    @property
    def shown_name(self) -> str:
        """Its name, or one made of host and path."""
        return self.name or f"{'|'.join(self.host)}{self.path}"

    def model_post_init(self, context: Any, /) -> None:
        """Refuses what does not fit together; once for each route, however often the whole is put together."""
        if len(self.model_fields_set & _ACTIONS) > 1:
            self._check_actions()
        if self.subset is not None and self.to is None:
            raise ConfigError(
                f"route `{self.shown_name}` has a `subset`, but sends to no upstream", hint="add `to`"
            )
        if self.redirect is not None:
            self._check_location(self.redirect.location)
        if (self.strip_prefix or self.replace_prefix) and not (self.to or self.files):
            raise ConfigError(
                f"route `{self.shown_name}` changes the path, but sends it nowhere",
                hint="add `to` or `files`",
            )

    def _check_actions(self) -> None:
        given = [key for key in ACTIONS if getattr(self, key) is not None]
        if len(given) > 1:
            raise ConfigError(
                f"route `{self.shown_name}` has both `{given[0]}` and `{given[1]}`",
                hint="a route does one thing",
            )

    def _check_location(self, location: str) -> None:
        """A name in braces that nothing fills in would be sent as it stands."""
        known = (*_PLACES, *parameters(self.path))
        for name in _BRACES.findall(location):
            if name not in known:
                raise ConfigError(
                    f"the location `{location}` names `{{{name}}}`, which is not a parameter of `{self.path}`",
                    hint=suggestion(name, known),
                )
