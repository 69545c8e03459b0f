"""OpenAPI 3.0 and 3.1 documents: which operation a request is, and what its parts must be."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import yaml

from headgate import ConfigError

BASE = "urn:headgate:document"
FORM = "application/x-www-form-urlencoded"
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,300})(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,3})?")


class Schemas:
    """Validators of the schemas of one document, whose references stay as they are."""

    def __init__(self, document: Any) -> None:
        try:
            self._library: Any = importlib.import_module("jsonschema_rs")
        except ImportError:
            raise ConfigError(
                "schemas need the library `jsonschema-rs`", hint="pip install 'headgate[plugins]'"
            ) from None
        try:
            self._registry = self._library.Registry([(BASE, document)])
        except ValueError as error:
            raise ConfigError(f"the document has an invalid reference: {error}", hint=None) from None

    def at(self, pointer: str) -> Schema:
        """The schema at a JSON pointer of the document."""
        return Schema(self._made({"$ref": f"{BASE}#{pointer}"}))

    def whole(self, schema: Any) -> Schema:
        """A schema that stands alone."""
        return Schema(self._made(schema))

    def _made(self, schema: Any) -> Any:
        try:
            return self._library.Draft202012Validator(
                schema,
                registry=self._registry,
                validate_formats=True,
                # linear time, whatever a client sends
                pattern_options=self._library.RegexOptions(),
            )
        except ValueError as error:
            raise ConfigError(f"the schema is not valid: {str(error).splitlines()[0]}", hint=None) from None


class Schema:
    """What a value must be."""

    def __init__(self, validator: Any) -> None:
        self._validator = validator

    def wrong(self, value: Any) -> tuple[str, str] | None:
        """Where a value is wrong, as a JSON pointer, and which rule says so; none if it is right."""
        if self._validator.is_valid(value):
            return None
        error = next(iter(self._validator.iter_errors(value)))
        where = "".join(f"/{part}" for part in error.instance_path)
        rule = next((str(part) for part in reversed(error.schema_path) if isinstance(part, str)), "")
        return where[:200], rule


class Parameter:
    """A parameter of an operation."""

    def __init__(self, said: dict[str, Any], schema: Schema | None, shape: dict[str, Any]) -> None:
        self.name: str = said["name"]
        self.place: str = said["in"]
        self.is_required: bool = said.get("required", False) or self.place == "path"
        self._schema = schema
        self._shape = shape
        style = said.get("style", "form" if self.place in ("query", "cookie") else "simple")
        self._explodes = said.get("explode", style == "form")
        self._separator = {"spaceDelimited": " ", "pipeDelimited": "|"}.get(style, ",")

    def wrong(self, values: list[str]) -> str | None:
        """What is wrong with the values that a request has for it."""
        if not values:
            return "is missing" if self.is_required else None
        if self._schema is None:
            return None
        value: Any
        if self._shape.get("type") == "array":
            parts = values if self._explodes and self.place == "query" else values[0].split(self._separator)
            value = [read(part, self._shape.get("items", {})) for part in parts]
        elif len(values) > 1:
            return "is repeated"
        else:
            value = read(values[0], self._shape)
        found = self._schema.wrong(value)
        return f"does not fit the rule `{found[1]}`" if found else None


def read(text: str, shape: dict[str, Any]) -> Any:
    """A text as the type that a schema wants; the text itself where it is none of that type."""
    kinds = shape.get("type", "string")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind in ("integer", "number") and NUMBER.fullmatch(text):
            return json.loads(text)
        if kind == "boolean" and text in ("true", "false"):
            return text == "true"
    return text


class Operation:
    """A method on a path."""

    def __init__(
        self,
        parameters: list[Parameter],
        bodies: dict[str, Schema | None],
        fields: dict[str, Any],
        needs_body: bool,
    ) -> None:
        self.parameters = parameters
        self.bodies = bodies
        """Schemas by media type; none where any body of the type will do."""
        self.fields = fields
        """What the fields of a form are."""
        self.needs_body = needs_body
        self.queries = {one.name for one in parameters if one.place == "query"}

    def body_of(self, name: str) -> tuple[bool, Schema | None]:
        """Whether bodies of a media type are taken, and what they must be."""
        major = name.partition("/")[0]
        for known in (name, f"{major}/*", "*/*"):
            if known in self.bodies:
                return True, self.bodies[known]
        return False, None


class Document:
    """A document, ready to find operations in."""

    def __init__(self, path: str) -> None:
        raw = loaded(path)
        version = str(raw.get("openapi", ""))
        if not version.startswith(("3.0", "3.1")):
            raise ConfigError(f"`{path}` is not a document of OpenAPI 3.0 or 3.1", hint="see `openapi:`")
        document = _as_3_1(raw) if version.startswith("3.0") else raw
        self._document = document
        self._schemas = Schemas(document)
        servers = document.get("servers") or [{"url": "/"}]
        self.base = urlsplit(servers[0].get("url", "/")).path.rstrip("/")
        self._paths = sorted(self._read_paths(), key=lambda one: (one[0].count("{"), -len(one[0])))

    def find(self, path: str) -> tuple[dict[str, Operation], dict[str, str]] | None:
        """The operations of a path by method, and its parameters, decoded."""
        match = self._match(path)
        if match is None:
            return None
        _, names, operations, segments = match
        found = {
            name[1:-1]: unquote(segment)
            for name, segment in zip(names, segments, strict=True)
            if name.startswith("{")
        }
        return operations, found

    def named(self, path: str, method: str) -> str | None:
        """The path in the document that has an operation for the request, without the server's; none if none has."""
        match = self._match(path)
        return match[0] if match is not None and method in match[2] else None

    def responses(self, read: Callable[..., dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
        """What `read` makes of the responses of each operation, by its path and its method in capitals."""
        made = {}
        for path, whole in (self._document.get("paths") or {}).items():
            item, pointer = self._followed(whole, f"/paths/{_escaped(path)}")
            for method in METHODS:
                if method in item:
                    place = f"{pointer}/{method}"
                    made[path, method.upper()] = read(
                        item[method], place, self._followed, self._schemas.at, _escaped
                    )
        return made

    def operations(self) -> Iterator[tuple[str, str]]:
        """Each operation: its path in the document and its method, in capitals."""
        return ((path, method) for path, _, operations in self._paths for method in operations)

    def _match(self, path: str) -> tuple[str, list[str], dict[str, Operation], list[str]] | None:
        if not path.startswith(self.base):
            return None
        segments = path[len(self.base) :].split("/")
        for known, names, operations in self._paths:
            if len(names) == len(segments) and all(
                name == segment or (name.startswith("{") and segment)
                for name, segment in zip(names, segments, strict=True)
            ):
                return known, names, operations, segments
        return None

    def _read_paths(self) -> Iterator[tuple[str, list[str], dict[str, Operation]]]:
        for path, item in (self._document.get("paths") or {}).items():
            if any("{" in part and not (part[0] == "{" and part[-1] == "}") for part in path.split("/")):
                raise ConfigError(f"the path `{path}` has a parameter that is a part of a segment", hint=None)
            pointer = f"/paths/{_escaped(path)}"
            item, pointer = self._followed(item, pointer)
            operations = {
                method.upper(): self._operation(item, item[method], pointer, method)
                for method in METHODS
                if method in item
            }
            yield path, path.split("/"), operations

    def _operation(self, item: Any, said: Any, pointer: str, method: str) -> Operation:
        places = [(one, f"{pointer}/parameters/{n}") for n, one in enumerate(item.get("parameters", []))]
        places += [
            (one, f"{pointer}/{method}/parameters/{n}") for n, one in enumerate(said.get("parameters", []))
        ]
        parameters: dict[tuple[str, str], Parameter] = {}
        for one, place in places:
            one, place = self._followed(one, place)
            schema = self._schemas.at(f"{place}/schema") if "schema" in one else None
            shape = self._followed(one.get("schema", {}), "")[0]
            parameters[one["in"], one["name"]] = Parameter(one, schema, shape)
        body, place = self._followed(said.get("requestBody", {}), f"{pointer}/{method}/requestBody")
        bodies = {
            name.lower(): self._schemas.at(f"{place}/content/{_escaped(name)}/schema")
            if "schema" in content
            else None
            for name, content in body.get("content", {}).items()
        }
        form = body.get("content", {}).get(FORM, {}).get("schema", {})
        fields = self._followed(form, "")[0].get("properties", {})
        return Operation(list(parameters.values()), bodies, fields, body.get("required", False))

    def _followed(self, said: Any, pointer: str) -> tuple[Any, str]:
        """What a reference within the document leads to."""
        for _ in range(20):
            if not (isinstance(said, dict) and "$ref" in said):
                return said, pointer
            reference = str(said["$ref"])
            if not reference.startswith("#/"):
                raise ConfigError(f"`{reference}` leads out of the document", hint="put all into one file")
            pointer, said = reference[1:], self._document
            for part in pointer[1:].split("/"):
                name = unquote(part).replace("~1", "/").replace("~0", "~")
                if not isinstance(said, dict) or name not in said:
                    raise ConfigError(f"`{reference}` leads nowhere", hint=None)
                said = said[name]
        raise ConfigError("references lead in a circle", hint=None)


def loaded(path: str) -> dict[str, Any]:
    """A document of YAML or JSON as JSON has it; raises `ConfigError`."""
    try:
        found = yaml.safe_load(Path(path).read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"`{path}` cannot be read: {error}", hint="name a YAML or JSON file") from None
    if not isinstance(found, dict):
        raise ConfigError(f"`{path}` is not a document of OpenAPI", hint="see `openapi:`")
    # keys such as 200 are texts in JSON
    made: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return made


def _as_3_1(value: Any) -> Any:
    """Schemas of 3.0 in the words of 3.1: `nullable`, and bounds that exclude themselves."""
    if isinstance(value, list):
        return [_as_3_1(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {key: _as_3_1(one) for key, one in value.items()}
    if made.pop("nullable", False) is True:
        if isinstance(made.get("type"), str):
            made["type"] = [made["type"], "null"]
            if "enum" in made and None not in made["enum"]:
                made["enum"] = [*made["enum"], None]
        else:
            made = {"anyOf": [made, {"type": "null"}]}
    for bound, excluded in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        excludes = made.pop(excluded) if isinstance(made.get(excluded), bool) else False
        if excludes and bound in made:
            made[excluded] = made.pop(bound)
    return made


def _escaped(name: str) -> str:
    """A name in a JSON pointer in a URL."""
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="~-._")
