"""A profile as a flame graph: an SVG without scripts or outside resources; hovering shows the whole name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256
from xml.sax.saxutils import escape

from .profile import Frame, Node, Profile, tree

WIDTH, ROW, PAD = 1200, 17, 10
LEAST_WIDTH = 0.3
"""In pixels; what is narrower is left out, as it cannot be seen."""
CHARACTER = 6.6
_NOT_XML = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def flame_graph(profile: Profile, title: str) -> str:
    """The SVG. The widest call of a level is not the first one: calls are in the order of their names."""
    root = tree(profile)
    boxes = list(_boxes(root, PAD, 0, root.seconds or 1.0))
    depth = max((level for *_, level in boxes), default=0) + 1
    height = (depth + 2) * ROW + 3 * PAD
    drawn = "".join(_drawn(*box, height, root.seconds or 1.0) for box in boxes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="monospace" font-size="11">'
        f'<rect width="100%" height="100%" fill="#fff"/>'
        f'<text x="{WIDTH / 2}" y="{PAD + 10}" text-anchor="middle" font-size="14">{_text(title)}</text>'
        f"{drawn}</svg>\n"
    )


def _boxes(node: Node, left: float, level: int, whole: float) -> Iterator[tuple[Node, float, float, int]]:
    """Each call with its left edge, its width and its level."""
    width = (WIDTH - 2 * PAD) * node.seconds / whole
    if width < LEAST_WIDTH:
        return
    yield node, left, width, level
    for child in node.sorted():
        yield from _boxes(child, left, level + 1, whole)
        left += (WIDTH - 2 * PAD) * child.seconds / whole


def _drawn(node: Node, left: float, width: float, level: int, height: int, whole: float) -> str:
    top = height - PAD - (level + 1) * ROW
    frame = node.frame
    told = f"{_named(frame)}: {node.seconds:.3f} s, {100 * node.seconds / whole:.1f} %"
    room = int((width - 6) / CHARACTER)
    name = frame.name if len(frame.name) <= room else f"{frame.name[: room - 1]}…" if room > 2 else ""
    text = f'<text x="{left + 3:.1f}" y="{top + 12}">{_text(name)}</text>' if name else ""
    return (
        f"<g><title>{_text(told)}</title>"
        f'<rect x="{left:.1f}" y="{top}" width="{max(width - 0.3, 0.1):.1f}" height="{ROW - 1}" rx="1"'
        f' fill="{_colour(frame)}"/>{text}</g>'
    )


def _named(frame: Frame) -> str:
    return f"{frame.name} ({frame.file}:{frame.line})" if frame.file else frame.name


def _colour(frame: Frame) -> str:
    """Warm, always the same for a name; cool for what groups calls."""
    number = sha256(_named(frame).encode(errors="replace")).digest()[0]
    return f"hsl({number % 50},85%,{68 + number % 12}%)" if frame.file else f"hsl(210,55%,{74 + number % 8}%)"


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
