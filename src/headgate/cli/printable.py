"""Texts of others on a terminal: what is not printable is escaped, so that none of them can play with it."""


def printable(text: str) -> str:
    """The text; of what is not printable only line ends stay as they are."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
