"""A plugin of somebody else, for `isolated.yaml`."""

from pydantic import BaseModel, Field

from headgate import Plugin, Request, Response


class Greeting(Plugin):
    """Tells the server who is greeted, and refuses nobody's greeting."""

    class Config(BaseModel):
        """Its settings."""

        text: str = Field(description="The greeting.")

    def request(self, request: Request) -> Response | None:
        """Reads the name from the query."""
        name = request.query_params.get("name", "")
        if not name:
            return Response(400, "who are you?\n")
        request.headers["x-greeting"] = f"{self.config.text}, {name[:50]}"
        return None
