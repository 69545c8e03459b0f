"""Responses that an OpenAPI document describes: its examples, or what is made of its schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from headgate import ConfigError

from ._fields import FRAMING, check_name, check_value
from ._openapi import METHODS, loaded

DEEPEST = 8
MOST_VALUES = 2000
BY_FORMAT = {
    "date": "2024-01-31",
    "date-time": "2024-01-31T12:00:00Z",
    "email": "user@example.com",
    "hostname": "host.example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "12:00:00Z",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
NOT_OF_A_MOCK = FRAMING | {"content-type"}
"""Fields that the gateway writes, whatever the document says of them (OpenAPI 3.1, section 4.8.17.1)."""
STATUS = re.compile("[2-5][0-9]{2}")


class Mock(NamedTuple):
    """A response of an operation."""

    status: int
    headers: list[tuple[str, str]]
    bodies: dict[str, dict[str, bytes]]
    """By media type, then by the name of the example; the first is the usual one."""


class Mocks:
    """The operations of a document and their responses."""

    def __init__(self, file: str) -> None:
        self._document = loaded(file)
        try:
            self._read(file)
        except ConfigError:
            raise
        except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"`{file}` is not a valid document of OpenAPI: {error}", hint="check it with a validator"
            ) from None

    def _read(self, file: str) -> None:
        if not str(self._document.get("openapi", "")).startswith(("3.0", "3.1")):
            raise ConfigError(f"`{file}` is not a document of OpenAPI 3.0 or 3.1", hint="see `openapi:`")
        servers = self._document.get("servers") or [{"url": "/"}]
        self._base = urlsplit(servers[0].get("url", "/")).path.rstrip("/")
        found = ((path.split("/"), self._operations(path, item)) for path, item in self._paths())
        self._paths_known = sorted(found, key=lambda one: ("{" in "".join(one[0]), -len(one[0])))
        if not self._paths_known:
            raise ConfigError(f"`{file}` has no paths", hint="see `paths:`")

    def find(self, path: str) -> dict[str, list[Mock]] | None:
        """The responses of a path by method, the usual one first."""
        if not path.startswith(self._base):
            return None
        segments = path[len(self._base) :].split("/")
        for names, operations in self._paths_known:
            if len(names) == len(segments) and all(
                name == segment or (name[:1] == "{" and segment)
                for name, segment in zip(names, segments, strict=True)
            ):
                return operations
        return None

    def _paths(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for path, item in (self._document.get("paths") or {}).items():
            yield path, self._followed(item)

    def _operations(self, path: str, item: dict[str, Any]) -> dict[str, list[Mock]]:
        made = {}
        for method in METHODS:
            if method in item:
                responses = item[method].get("responses") or {}
                mocks = [self._mock(str(status), self._followed(one)) for status, one in responses.items()]
                if not mocks:
                    raise ConfigError(f"`{method} {path}` has no responses", hint="see `responses:`")
                made[method.upper()] = sorted(mocks, key=lambda one: (one.status // 100 != 2, one.status))
        return made

    def _mock(self, status: str, said: dict[str, Any]) -> Mock:
        number = int(status) if STATUS.fullmatch(status) else {"4": 400, "5": 500}.get(status[:1], 200)
        headers = []
        for name, one in (said.get("headers") or {}).items():
            if name.lower() in NOT_OF_A_MOCK:
                continue
            check_name(name)
            one = self._followed(one)
            value = one["example"] if "example" in one else self._made(one.get("schema", {}))
            text = value if isinstance(value, str) else json.dumps(value)
            check_value(name, text)
            headers.append((name, text))
        bodies = {
            kind.lower(): self._bodies(kind, self._followed(content))
            for kind, content in (said.get("content") or {}).items()
        }
        for kind in bodies:
            check_value("content-type", kind)
        return Mock(number, headers, bodies)

    def _bodies(self, kind: str, content: dict[str, Any]) -> dict[str, bytes]:
        examples = content.get("examples") or {}
        values = {name: self._followed(one).get("value") for name, one in examples.items()}
        if not values:
            values = {
                "": content["example"] if "example" in content else self._made(content.get("schema", {}))
            }
        is_json = kind.lower().partition(";")[0].endswith(("/json", "+json"))
        return {
            name: (
                value if isinstance(value, str) and not is_json else json.dumps(value, ensure_ascii=False)
            ).encode()
            for name, value in values.items()
        }

    def _made(self, schema: Any) -> Any:
        return _Maker(self._followed).value(schema, 0)

    def _followed(self, said: Any) -> dict[str, Any]:
        """What references within the document lead to."""
        for _ in range(20):
            if not (isinstance(said, dict) and "$ref" in said):
                return said if isinstance(said, dict) else {}
            reference = str(said["$ref"])
            found: Any = self._document
            for part in reference.removeprefix("#/").split("/"):
                name = unquote(part).replace("~1", "/").replace("~0", "~")
                if not reference.startswith("#/") or not isinstance(found, dict) or name not in found:
                    raise ConfigError(f"`{reference}` leads nowhere", hint="put all into one file")
                found = found[name]
            said = found
        raise ConfigError("references lead in a circle", hint=None)


class _Maker:
    """A value that fits a schema, as far as its types say; bounded in depth and in all."""

    def __init__(self, followed: Any) -> None:
        self._followed = followed
        self._left = MOST_VALUES

    def value(self, schema: Any, depth: int) -> Any:
        said = self._followed(schema)
        self._left -= 1
        if depth > DEEPEST or self._left < 0:
            return None
        for key in ("example", "const", "default"):
            if key in said:
                return said[key]
        for key in ("examples", "enum"):
            if isinstance(said.get(key), list) and said[key]:
                return said[key][0]
        for key in ("oneOf", "anyOf"):
            if said.get(key):
                return self.value(said[key][0], depth + 1)
        if said.get("allOf"):
            return self._merged(said, depth)
        return self._of_type(said, depth)

    def _merged(self, said: dict[str, Any], depth: int) -> Any:
        rest = {key: value for key, value in said.items() if key != "allOf"}
        values = [self.value(one, depth + 1) for one in said["allOf"]]
        if rest.get("properties"):
            values.append(self.value(rest, depth + 1))
        if all(isinstance(one, dict) for one in values):
            return {name: value for one in values for name, value in one.items()}
        return values[0]

    def _of_type(self, said: dict[str, Any], depth: int) -> Any:
        kinds = said.get("type", "object" if "properties" in said else None)
        kind = next((one for one in kinds if one != "null"), None) if isinstance(kinds, list) else kinds
        if kind == "object":
            properties = said.get("properties") or {}
            return {name: self.value(one, depth + 1) for name, one in properties.items()}
        if kind == "array":
            count = min(max(int(said.get("minItems", 1)), 1 if said.get("maxItems", 1) else 0), 10)
            return [self.value(said.get("items", {}), depth + 1) for _ in range(count)]
        if kind in ("integer", "number"):
            return said.get("minimum", 0)
        if kind == "boolean":
            return True
        if kind == "string":
            text = BY_FORMAT.get(said.get("format", ""), "string")
            return text.ljust(min(int(said.get("minLength", 0)), 1000), "x")[: said.get("maxLength")]
        return None
