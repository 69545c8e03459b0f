"""Serves files that lie compressed beside the plain ones."""

from __future__ import annotations

import mimetypes
import os
import stat
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, field_validator

from headgate import ConfigError, Plugin, PluginContext, Request, ResponseView

from ._codings import chosen

Coding = Literal["br", "zstd", "gzip"]
ENDINGS = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}


class Precompressed(Plugin):
    """Serves `app.js.br`, `app.js.zst` or `app.js.gz` in the place of `app.js` to clients that take the coding; use it
    `on` a route of files.

    The plain file must be there, and the compressed one be no older. `Content-Type` is that of the plain file, the
    entity tag that of the compressed one, and `Vary` names `Accept-Encoding` on all. The files cost no processor time,
    so they can be compressed as well as possible when they are made.
    """

    order = 320  # after all plugins that decide by the path

    class Config(BaseModel):
        """Settings of `precompressed`."""

        model_config = ConfigDict(extra="forbid")

        root: Path = Field(
            description="The folder of the route's files; a relative one is from where headgate is started."
        )
        strip_prefix: str = Field(
            default="", description="What the route takes off paths before it looks for files."
        )
        codings: list[Coding] = Field(
            default=["br", "zstd", "gzip"], min_length=1, description="Codings, the first is preferred."
        )
        index: str = Field(default="index.html", description="The file of a folder.")

        @field_validator("root")
        @classmethod
        def _root(cls, root: Path) -> Path:
            if not os.path.isdir(root):  # also for names that cannot be
                raise ConfigError(f"`{root}` is not a folder", hint="name the folder of the route's files")
            return root

        @field_validator("strip_prefix")
        @classmethod
        def _prefix(cls, prefix: str) -> str:
            if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
                raise ConfigError(f"`{prefix}` is not a valid prefix", hint="write `/assets`")
            return prefix

        @field_validator("index")
        @classmethod
        def _index(cls, index: str) -> str:
            if "/" in index or not index:
                raise ConfigError(f"`{index}` is not a file's name", hint="write `index.html`")
            return index

    def setup(self, context: PluginContext) -> None:
        """Finds the folder."""
        self._key = f"{context.name} file"
        self._root = os.path.realpath(self.config.root)
        self._codings = tuple(self.config.codings)

    def request(self, request: Request) -> None:
        """Leads to the compressed file, if there is one and the client takes it."""
        if request.method not in ("GET", "HEAD"):
            return
        path = request.path
        if path.endswith("/"):
            path += self.config.index
        plain = self._plain(path)
        if plain is None:
            return
        found = [one for one in self._codings if _is_newer(plain + ENDINGS[one], plain)]
        coding = chosen(",".join(request.headers.get_all("accept-encoding")), tuple(found))
        vars(request.state)[self._key] = (coding, plain)
        if coding is not None:
            request.path = path + ENDINGS[coding]

    def response(self, request: Request, response: ResponseView) -> None:
        """Says what the file is."""
        found: tuple[Coding | None, str] | None = getattr(request.state, self._key, None)
        if found is None or response.status not in (200, 206, 304):
            return
        coding, plain = found
        headers = response.headers
        if "vary" not in headers:
            headers["vary"] = "Accept-Encoding"
        if coding is not None:
            headers["content-encoding"] = coding
            headers["content-type"] = _type(plain)

    def _plain(self, path: str) -> str | None:
        """The file that a path names, if it lies in the folder."""
        prefix = self.config.strip_prefix
        if not path.startswith(f"{prefix}/"):
            return None
        try:
            name = unquote(path[len(prefix) + 1 :], errors="strict")
            file = os.path.realpath(os.path.join(self._root, name))
        except ValueError:  # not UTF-8, or a NUL
            return None
        return file if file.startswith(f"{self._root}/") and os.path.isfile(file) else None


def _is_newer(file: str, other: str) -> bool:
    try:
        found = os.stat(file)
        return stat.S_ISREG(found.st_mode) and found.st_mtime >= os.stat(other).st_mtime
    except OSError:
        return False


def _type(name: str) -> str:
    ending = os.path.splitext(name)[1].lower()
    kind = TYPES.get(ending) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
