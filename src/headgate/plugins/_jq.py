"""Programs of jq, as they run in a job process."""

from __future__ import annotations

import importlib
from functools import lru_cache
from typing import Any

from headgate import ConfigError

from ._bodies import BadBody, parsed_json
from ._bounds import bounded

SHAPES = ("one", "list", "lines")


def checked(program: str) -> str:
    """A program that compiles; raises `ConfigError`."""
    try:
        _compiled(program)
    except ImportError:
        raise ConfigError(
            "programs of jq need the library `jq`", hint="pip install 'headgate[plugins]'"
        ) from None
    except ValueError as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), "it does not compile")
        raise ConfigError(f"the program is not valid: {reason[:200]}", hint="try it with `jq`") from None
    return program


@lru_cache(64)
def _compiled(program: str) -> Any:
    """The program alone, and without the environment of the gateway; its results are texts, since numbers would lose
    digits on their way through Python.
    """
    jq: Any = importlib.import_module("jq")
    jq.compile(program)  # it stands alone: it closes no parenthesis of the next line
    return jq.compile(f"def env: {{}}; {{}} as $ENV | ({program}\n) | tojson")


def run(
    program: str, body: bytes, shape: str, depth: int, most_bytes: int, seconds: float, most_memory: int
) -> bytes:
    """What a program makes of a body: the first result, or all; raises `BadBody`."""
    compiled = _compiled(program)
    with bounded(seconds, most_memory):
        parsed_json(body, depth=depth)  # refuses what parsers read differently
        results: list[str] = []
        size = 0
        try:
            for result in compiled.input_text(body.decode()):
                results.append(result)
                size += len(result) + 1
                if shape == "one":
                    break
                if size > most_bytes:
                    break
        except ValueError as error:
            raise BadBody(f"the body is not what the program wants: {error}"[:300]) from None
        if shape == "one" and not results:
            raise BadBody("the program makes nothing of this body")
        text = {"one": "".join, "list": _listed, "lines": _lined}[shape](results)
        made = text.encode("utf-8", "replace")
    if len(made) > most_bytes:
        raise BadBody("what the program makes is too large", 413)
    return made


def _listed(results: list[str]) -> str:
    return f"[{','.join(results)}]"


def _lined(results: list[str]) -> str:
    return "".join(f"{one}\n" for one in results)
