"""A line of the log: what of it senders look at without reading all of it."""

_BEGIN = b'{"time":"'


def time_of(line: bytes) -> bytes:
    """When the request arrived (RFC 3339, UTC), which every line begins with."""
    begin = len(_BEGIN)
    return line[begin : line.index(b'"', begin)]
