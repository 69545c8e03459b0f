"""A rule about a path holds for what the server understands: no spelling of a path leads around it, to real servers."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kit import RawClient, RunningGateway, Serve, fetch
from e2e.kit.file_servers import FileServer, apache, nginx, node_split, node_url, python, tomcat

DATA = Path(__file__).parent.parent / "data" / "paths" / "tricks.json"
FILE = "secret.html"
SECRET = b"the secret"
TRICKS = [
    pytest.param(trick.replace("{file}", FILE), id=f"{kind}: {trick}")
    for kind, tricks in json.loads(DATA.read_text()).items()
    for trick in tricks
]
CLOSED = {"status": 403, "body": "closed"}

# below it, folders are opened to the users that servers run as
TEMPORARY = Path(tempfile.gettempdir())

SERVERS: list[FileServer] = [nginx, apache, node_url, node_split, python, tomcat]


class Site:
    """A server of files and gateways before it, one for each way to write the rule."""

    def __init__(self, server: str, gateways: dict[str, RunningGateway]) -> None:
        self.server = server
        self.gateways = gateways


@pytest.fixture(scope="module", params=SERVERS, ids=lambda server: server.__name__)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    root = folder / "root"
    for name, text in (("public/index.html", b"public"), (f"private/{FILE}", SECRET)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text)
    for parent in (folder, *(one for one in folder.parents if TEMPORARY in one.parents)):
        parent.chmod(parent.stat().st_mode | 0o055)
    (folder / "work").mkdir()
    starter = Serve(folder)
    try:
        with request.param(folder / "work", root) as server:
            yield Site(
                server,
                {
                    "only /public is open": starter(
                        {"routes": [{"path": "/public/*", "to": server}, {"path": "/", "respond": CLOSED}]}
                    ),
                    "only /private is closed": starter(
                        {"routes": [{"path": "/private/*", "respond": CLOSED}, {"path": "/", "to": server}]}
                    ),
                    "a plugin guards /private": starter(GUARDED, names={"SERVER": server}),
                },
            )
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    finally:
        starter.stop()


GUARDED = """
from headgate import Gateway, Plugin, Response

class Guard(Plugin):
    def request(self, request):
        return Response(403, "closed")

gate = Gateway()
gate.listen(LISTEN)
gate.use(Guard(), on="/private/*")
gate.route("/", to=SERVER)
"""


def test_the_server_itself_gives_the_file(site: Site) -> None:
    assert fetch(site.server, f"/private/{FILE}").body == SECRET
    for gateway in site.gateways.values():
        assert fetch(gateway.address, "/public/index.html").body == b"public"
        assert fetch(gateway.address, f"/private/{FILE}").status == 403


@pytest.mark.parametrize("target", TRICKS)
def test_no_spelling_leads_around_a_rule(site: Site, target: str) -> None:
    for rule, gateway in site.gateways.items():
        with RawClient(gateway.address) as client:
            client.send(f"GET {target} HTTP/1.1\r\nHost: gate.test\r\nConnection: close\r\n\r\n".encode())
            response = client.response()
        assert SECRET not in response.body, rule
        assert response.status in (200, 301, 302, 307, 308, 400, 403, 404), rule
