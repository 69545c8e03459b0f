"""XML as nested values whose shape does not depend on how many elements there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from xml.parsers import expat

from ._bodies import BadBody


class Element(dict[str, Any]):
    """An element: attributes as `@name`, children by their names. Its text is what it prints as."""

    text = ""

    def __str__(self) -> str:
        return self.text


def parsed_xml(body: bytes, lists: Sequence[str], *, depth: int = 64) -> Element:
    """A document as an element that holds its root; raises `BadBody`.

    Children at a path of `lists` (`order/item`) are lists, be there none, one or more; others come once. Document types
    are refused: entities that grow, files that are read.
    """
    reader = _Reader(frozenset(lists), depth)
    parser = parser_of(reader)
    parser.buffer_text = True
    read_xml(body, parser)
    return reader.top


class XmlReader(Protocol):
    """What is told of a document while it is read; each may raise `BadBody`."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """It ends."""

    def characters(self, text: str) -> None:
        """A piece of its text."""


def parser_of(reader: XmlReader) -> expat.XMLParserType:
    """A parser that tells a reader of a document, and refuses document types."""
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    return parser


def read_xml(body: bytes, parser: expat.XMLParserType) -> None:
    """Reads a whole document; raises `BadBody`."""
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        raise BadBody("the body is not well-formed XML") from None


def _refuse_doctype(*_: object) -> None:
    raise BadBody("the body has a document type")


class _Reader:
    def __init__(self, lists: frozenset[str], depth: int) -> None:
        self._lists = lists
        self._depth = depth
        self.top = Element()
        self._open: list[tuple[str, Element]] = [("", self.top)]

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) > self._depth:
            raise BadBody("the body is nested too deep")
        above, parent = self._open[-1]
        path = f"{above}/{name}" if above else name
        made = Element({f"@{key}": value for key, value in attributes.items()})
        for one in self._lists:
            if one.rpartition("/")[0] == path:
                made[one.rpartition("/")[2]] = []
        if path in self._lists:
            parent[name].append(made)
        elif name in parent:
            raise BadBody(f"there is more than one `{name[:100]}`")
        else:
            parent[name] = made
        self._open.append((path, made))

    def end(self, name: str) -> None:
        _, closed = self._open.pop()
        closed.text = closed.text.strip()

    def characters(self, text: str) -> None:
        self._open[-1][1].text += text
