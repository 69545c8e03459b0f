"""How paths are read before anything looks at them."""

from typing import Literal, TypedDict

from pydantic import Field

from .settings import Settings

EncodedSlashes = Literal["keep", "refuse", "decode"]
"""What becomes of `%2F` and `%5C` in a path."""


class PathConfig(Settings):
    """Normalization of the paths that routes, hooks and servers see (RFC 3986 section 6)."""

    encoded_slashes: EncodedSlashes = Field(
        default="keep",
        description="`%2F` and `%5C` in paths: `keep` them as a part of a segment, `refuse` with 400, "
        "or `decode` `%2F` to `/`.",
    )
    merge_slashes: bool = Field(
        default=False, description="Whether `//` in a path becomes `/`, for routes and for servers."
    )


class PathOptions(TypedDict, total=False):
    """The keywords of `Gateway.path`; see `PathConfig`."""

    encoded_slashes: EncodedSlashes
    merge_slashes: bool
