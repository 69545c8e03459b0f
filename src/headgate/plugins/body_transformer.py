"""Makes bodies into others by templates: JSON, XML, forms, CSV, YAML, MessagePack and text, in both directions."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from html import escape
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from headgate import ConfigError, Plugin, PluginContext, Request, Response, ResponseView

from ._bodies import BadBody, decoded, media_type, parsed_json
from ._fields import FRAMING
from ._formats import (
    in_csv,
    in_form,
    in_yaml,
    made_msgpack,
    msgpack,
    parsed_csv,
    parsed_form,
    parsed_msgpack,
    parsed_yaml,
)
from ._numbers import Number, to_json
from ._texts import text_of
from ._xml import parsed_xml

Format = Literal["json", "xml", "form", "csv", "yaml", "msgpack", "text"]
TYPES: dict[Format, str] = {
    "json": "application/json",
    "xml": "application/xml",
    "form": "application/x-www-form-urlencoded",
    "csv": "text/csv; charset=utf-8",
    "yaml": "application/yaml",
    "msgpack": "application/vnd.msgpack",
    "text": "text/plain; charset=utf-8",
}
OF_THE_OLD_BODY = ("etag", "content-encoding", "content-range", "accept-ranges", "last-modified")


class Transformation(BaseModel):
    """How a body becomes another."""

    model_config = ConfigDict(extra="forbid")

    template: str = Field(
        description="A template (Jinja2, sandboxed), or `file:` and the name of its file. It sees `body`, `request` "
        "(`method`, `path`, `query`, `params`, `headers`, `consumer`) and, of responses, `status`."
    )
    format: Format | None = Field(default=None, description="What the body is; null is what its type says.")
    output: Format = Field(
        default="json",
        description="What the template makes: values are escaped for it; of `yaml` they come with their quotes, for "
        "`msgpack` it makes JSON. `{{ value | tojson }}` is a value as JSON, `{{ value | raw }}` a text as it is.",
    )
    content_type: str | None = Field(
        default=None, description="The new Content-Type; null is that of `output`."
    )
    lists: list[str] = Field(
        default=[],
        description="Of XML and forms: the paths that are lists, as `order/item`. Others come once.",
    )


class BodyTransformer(Plugin):
    """Replaces bodies of requests before they go on, and of responses before they are sent, by what a template makes of
    them.

    Formats are JSON, XML, forms, CSV (a list of rows by the names of the first), YAML 1.2 (without anchors and tags, of
    64 KiB at most), MessagePack and text. Numbers of JSON and YAML stay as they were written. Values are escaped by the
    output's format, so that no value adds members or elements. A body that does not fit is a 400, of a response a 502;
    so is a value that the template misses. Errors (400 and more) that it does not fit stay as they are. `when` of the
    use chooses responses: `response.status == 200` needs a use without `request`.
    """

    order = 510

    class Config(BaseModel):
        """Settings of `body-transformer`."""

        model_config = ConfigDict(extra="forbid")

        request: Transformation | None = Field(default=None, description="How bodies of requests change.")
        response: Transformation | None = Field(default=None, description="How bodies of responses change.")
        max_body_bytes: int = Field(default=1_048_576, ge=1, description="The most bytes of a body, decoded.")
        max_depth: int = Field(default=64, ge=1, le=500, description="The most levels of a body.")

        @model_validator(mode="after")
        def _something(self) -> BodyTransformer.Config:
            if self.request is None and self.response is None:
                raise ConfigError("no body is transformed", hint="write `request` or `response`")
            return self

    def setup(self, context: PluginContext) -> None:
        """Compiles the templates."""
        config = self.config
        self._request = _Template(config.request, config.max_depth) if config.request else None
        self._response = _Template(config.response, config.max_depth) if config.response else None
        self._key = f"{context.name} body"
        self._log = context.log

    async def request(self, request: Request) -> Response | None:
        """Transforms the request's body."""
        if self._response is not None:
            request.headers["accept-encoding"] = "identity"  # what is coded cannot be read as it comes
        if self._request is None:
            return None
        try:
            body = await decoded(request, self.config.max_body_bytes)
            if body:
                kind = media_type(request)
                made = self._request.made(body, kind.name if kind else "", {"request": _seen(request)})
                request.set_body(made, content_type=self._request.content_type)
        except BadBody as error:
            vars(request.state)[self._key] = None  # this reply is no server's
            return Response.json({"error": str(error)}, error.status)
        return None

    def response(self, request: Request, response: ResponseView) -> None:
        """Notes what is to be transformed; what describes the old body goes."""
        if self._response is None or response.status in (204, 304) or self._key in vars(request.state):
            return
        headers = response.headers
        coding = headers.get("content-encoding", "identity").strip().lower()
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        given = headers.get("content-type")
        vars(request.state)[self._key] = _Held(kind, given, is_coded=coding not in ("", "identity"))
        for name in OF_THE_OLD_BODY:
            headers.pop(name, None)
        headers["content-type"] = self._response.content_type

    def response_body(
        self, request: Request, response: ResponseView, chunk: bytes, last: bool
    ) -> bytes | Response | None:
        """Holds the body back until it is whole, then gives the new one."""
        held = getattr(request.state, self._key, None)
        if held is None or self._response is None:
            return None
        held.chunks.append(chunk)
        held.size += len(chunk)
        try:
            if held.is_coded:
                raise BadBody("the response is coded although that was not asked for")
            if held.size > self.config.max_body_bytes:
                raise BadBody("the response is too large")
            if not last:
                return b""
            values = {"request": _seen(request), "status": response.status}
            return self._response.made(b"".join(held.chunks), held.kind, values)
        except BadBody as error:
            vars(request.state)[self._key] = None
            if last and response.status >= 400 and not held.is_coded:
                # an error says something else, and clients have to read what
                fields = [one for one in response.headers.items() if one[0] not in ("content-type", *FRAMING)]
                kind = [("content-type", held.given)] if held.given else []
                return Response(response.status, b"".join(held.chunks), headers=[*fields, *kind])
            self._log.warning("a response is not transformed", extra={"reason": str(error)})
            return Response.json({"error": "the response of the server is not what was expected"}, 502)


class _Held:
    def __init__(self, kind: str, given: str | None, *, is_coded: bool) -> None:
        self.kind = kind
        self.given = given
        """The Content-Type as it came."""
        self.is_coded = is_coded
        self.chunks: list[bytes] = []
        self.size = 0


class _Raw(str):
    """A text that is not escaped any more."""

    __slots__ = ()


class _Template:
    def __init__(self, said: Transformation, depth: int) -> None:
        self._said = said
        self._depth = depth
        self.content_type = said.content_type or TYPES[said.output]
        try:
            jinja: Any = importlib.import_module("jinja2")
            sandbox: Any = importlib.import_module("jinja2.sandbox")
        except ImportError:
            raise ConfigError(
                "templates need the library `jinja2`", hint="pip install 'headgate[plugins]'"
            ) from None
        environment = sandbox.ImmutableSandboxedEnvironment(
            undefined=jinja.StrictUndefined,
            finalize=FINALIZE[said.output],
            keep_trailing_newline=True,
            newline_sequence="\r\n" if said.output == "csv" else "\n",
        )
        environment.filters |= {
            "tojson": lambda value: _Raw(to_json(value)),
            "raw": lambda value: _Raw(value),
        }
        self._failures: Any = (jinja.UndefinedError, TypeError, ValueError, ArithmeticError, LookupError)
        try:
            self._template = environment.from_string(text_of(said.template))
        except jinja.TemplateSyntaxError as error:
            raise ConfigError(
                f"line {error.lineno} of the template is not valid: {error.message}",
                hint="templates are written as those of Jinja2",
            ) from None
        if "msgpack" in (said.format, said.output):
            msgpack()

    def made(self, body: bytes, kind: str, values: dict[str, Any]) -> bytes:
        """The new body; raises `BadBody`."""
        value = self._parsed(body, kind)
        try:
            made: str = self._template.render(body=value, **values)
        except self._failures as error:
            raise BadBody(f"the body is not what the template wants: {error}"[:300]) from None
        output = self._said.output
        try:
            if output == "msgpack":
                return made_msgpack(made)
            if output == "json":
                json.loads(made)
            elif output == "yaml":
                parsed_yaml(made, depth=self._depth)
        except ValueError:
            raise BadBody(f"the template does not make {output} of this body") from None
        return made.encode("utf-8", "replace")

    def _parsed(self, body: bytes, kind: str) -> Any:
        named = self._said.format or next((name for name in TYPES if name in kind.rpartition("/")[2]), "text")
        if named == "json":
            return parsed_json(body, depth=self._depth, keeps_numbers=True)
        if named == "xml":
            return parsed_xml(body, self._said.lists, depth=self._depth)
        if named == "msgpack":
            return parsed_msgpack(body, depth=self._depth)
        try:
            text = body.decode()
            if named == "csv":
                return parsed_csv(text)
            if named == "yaml":
                return parsed_yaml(text, depth=self._depth)
            return text if named == "text" else parsed_form(text, self._said.lists)
        except BadBody:
            raise
        except ValueError:
            raise BadBody("the body is not what its type says") from None


def _in_json(value: Any) -> str:
    if isinstance(value, _Raw):
        return value
    if value is None or isinstance(value, bool | int | float | Number):
        return to_json(value)
    return json.dumps(str(value), ensure_ascii=False)[1:-1]


def _in_xml(value: Any) -> str:
    return value if isinstance(value, _Raw) else escape("" if value is None else str(value))


def _unless_raw(escaped: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: value if isinstance(value, _Raw) else escaped(value)


def _in_text(value: Any) -> str:
    return "" if value is None else str(value)


FINALIZE: dict[Format, Any] = {
    "json": _in_json,
    "xml": _in_xml,
    "form": _unless_raw(in_form),
    "csv": _unless_raw(in_csv),
    "yaml": _unless_raw(in_yaml),
    "msgpack": _in_json,
    "text": _in_text,
}


def _seen(request: Request) -> dict[str, Any]:
    """What templates see of a request: copies, with nothing that they could call."""
    return {
        "method": request.method,
        "path": request.path,
        "query": dict(request.query_params),
        "params": dict(request.params),
        "headers": {name: request.headers.get(name) for name in request.headers},
        "consumer": getattr(request.state, "consumer", None) or "",
    }
