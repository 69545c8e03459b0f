"""What a worker and the supervisor tell each other while it loads: resources, and files that secrets are read from."""

from headgate.control.records import Message, Record


class NodeSettings(Record):
    """What the file says of the store and the Admin API, as far as the agent must know it before it loads the file."""

    state_folder: str
    listen: str | None = None
    """Where the Admin API listens."""
    store: str | None = None
    acme_folder: str | None = None
    """Where ordered certificates are kept; none are ordered without it."""
    has_state: bool = True
    """Whether something is kept in the state folder; else names of servers are looked up, and no more."""


class GetResources(Message):
    """Asks for the resources that are to be merged with the file."""

    settings: NodeSettings


class ResourcesLent(Message):
    """They come along in a memfd, unless there is an error."""

    error: str | None = None
    bytes: int = 0
    """Of the memory; what is behind them is of later."""


class SecretFile(Record):
    """A file that a secret was read from, as it was then."""

    path: str
    modified_ns: int
    inode: int
    bytes: int


class SecretFiles(Message):
    """Files that secrets were read from by a worker or the agent, all of them or the first `MOST_SECRET_FILES`."""

    files: list[SecretFile]


MOST_SECRET_FILES = 500
