"""What a request's query says, as Starlette's users know it: `request.query_params`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from urllib.parse import parse_qsl, urlencode


class QueryParams(Mapping[str, str]):
    """The parameters of a query, decoded (percent escapes, `+` for a space), in order; it cannot be changed.

    A name may come several times: reading gives its last value, as in Starlette, `getlist` every one.
    """

    def __init__(self, query: str | Iterable[tuple[str, str]] = "") -> None:
        given = parse_qsl(query, keep_blank_values=True) if isinstance(query, str) else query
        self._list = list(given)
        self._dict = dict(self._list)

    def __getitem__(self, name: str) -> str:
        return self._dict[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dict)

    def __len__(self) -> int:
        return len(self._dict)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QueryParams):
            return NotImplemented
        return sorted(self._list, key=itemgetter(0)) == sorted(other._list, key=itemgetter(0))

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._list, key=itemgetter(0))))

    def __str__(self) -> str:
        return urlencode(self._list)

    def __repr__(self) -> str:
        return f"QueryParams({str(self)!r})"

    def getlist(self, name: str) -> list[str]:
        """Every value of `name`, in order."""
        return [value for known, value in self._list if known == name]

    def multi_items(self) -> list[tuple[str, str]]:
        """Every name with its value, in order; a repeated name repeatedly."""
        return list(self._list)
