"""A plugin for tests of isolation."""

from headgate import Plugin, Request


class Mark(Plugin):
    """Sets a field."""

    class Config(Plugin.Config):
        name: str

    def request(self, request: Request) -> None:
        request.headers[self.config.name] = "yes"
