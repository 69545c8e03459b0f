"""A plugin: typed settings, and methods named as phases."""

from typing import Annotated

from pydantic import BaseModel, Field, SecretStr

from headgate import Gateway, Plugin, Request, Response


class KeyAuth(Plugin):
    """Lets in who shows a known key, and tells the servers who it was."""

    class Config(BaseModel):
        """A misspelt setting is refused at load; a text `env:NAME` is read from the environment."""

        header: str = "x-api-key"
        keys: dict[str, Annotated[SecretStr, Field(min_length=8)]]

    def setup(self) -> None:
        """Runs once, with the checked settings."""
        self._names = {key.get_secret_value(): name for name, key in self.config.keys.items()}

    def request(self, request: Request) -> Response | None:
        """Says what is known of the client."""
        name = self._names.get(request.headers.get(self.config.header, ""))
        if name is None:
            return Response.json({"error": "a key is missing or unknown"}, 401)
        request.headers["x-user"] = name
        return None


gate = Gateway()
gate.listen("127.0.0.1:8080")
gate.forwarding(identity_fields="x-user")  # no client sends it, on no route and in no spelling
gate.route("/", to="127.0.0.1:9000")
gate.use(KeyAuth(keys={"alice": "correct-horse", "bob": "battery-staple"}), on="/api/*")
