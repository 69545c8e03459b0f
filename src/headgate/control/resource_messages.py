"""What a worker asks the supervisor while it loads a file with a `store` or `admin`, and what it gets."""

from headgate.control.records import Message, Record


class NodeSettings(Record):
    """What the file says of the store and the Admin API, as far as the agent must know it before it loads the file."""

    state_folder: str
    listen: str | None = None
    """Where the Admin API listens."""
    store: str | None = None
    acme_folder: str | None = None
    """Where ordered certificates are kept; none are ordered without it."""


class GetResources(Message):
    """Asks for the resources that are to be merged with the file."""

    settings: NodeSettings


class ResourcesLent(Message):
    """They come along in a memfd, unless there is an error."""

    error: str | None = None
