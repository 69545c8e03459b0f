"""A value put into a URL is right for its place: no redirect leads to another site, no file's links lead beside it."""

from urllib.parse import urljoin

import pytest
from e2e.kit import Origin, RawClient, RunningGateway, Serve


@pytest.fixture(scope="module")
def gateway(serve_module: Serve, origin: Origin, tmp_path_factory: pytest.TempPathFactory) -> RunningGateway:
    root = tmp_path_factory.mktemp("site")
    (root / "index.html").write_text("index")
    (root / "a: b").mkdir()
    (root / "a: b" / "index.html").write_text("colon")
    return serve_module(
        {
            "routes": [
                {"path": "/old/{rest:path}", "redirect": "/{rest}"},
                {"path": "/bare/{rest:path}", "redirect": "{rest}"},
                {"path": "/one/{name}", "redirect": "/new/{name}?from={name}"},
                {"path": "/tls/{rest:path}", "redirect": "https://{host}/{rest}"},
                {"path": "/sub/{name}", "redirect": "https://{name}.site.test/"},
                {"path": "/slash/*", "redirect": "{path}"},
                {"path": "/site/*", "files": str(root), "strip_prefix": "/site"},
                {"path": "/strip/*", "to": origin.address, "strip_prefix": "/strip"},
                {"path": "/own/*", "to": "own"},
                {"path": "/", "redirect": "{target}"},
            ],
            "upstreams": {"own": {"servers": "127.0.0.1:80", "host": "server"}},
        }
    )


LOCATIONS = [
    ("/old//evil.example/x", "/evil.example/x"),
    ("/old///evil.example/x", "/evil.example/x"),
    ("/old/%2Fevil.example/x", "/%2Fevil.example/x"),
    ("/old/%5Cevil.example/x", "/%5Cevil.example/x"),
    ("/old/a%2Fb%0d%0ax", "/a%2Fb%0D%0Ax"),
    ("/bare/https://evil.example/", "./https://evil.example/"),
    ("/bare//evil.example/", "/evil.example/"),
    ("/one/a&b=c", "/new/a&b=c?from=a%26b%3Dc"),
    ("/one/a%2Fb", "/new/a%2Fb?from=a%2Fb"),
    ("/tls//evil.example/", "https://gate.test//evil.example/"),
    ("/sub/evil.example%2F", "https://evil.example%2F.site.test/"),
    ("/sub/u@evil.example:1", "https://u%40evil.example%3A1.site.test/"),
    ("//evil.example/x?q=1", "/evil.example/x?q=1"),
]


@pytest.mark.parametrize(("target", "location"), LOCATIONS)
def test_location_is_made_of_encoded_values(gateway: RunningGateway, target: str, location: str) -> None:
    assert gateway.get(target).get("location") == location


def test_redirect_to_a_host_needs_one(gateway: RunningGateway) -> None:
    with RawClient(gateway.address) as client:
        client.send(b"GET /tls/evil.example/ HTTP/1.0\r\n\r\n")
        response = client.response()
    assert (response.status, response.get("location")) == (400, None)


@pytest.mark.parametrize(
    ("target", "there"), [("/site?q=1", "/site/?q=1"), ("/site/a:%20b", "/site/a:%20b/")]
)
def test_folder_of_a_route_is_redirected_so_that_links_hold(
    gateway: RunningGateway, target: str, there: str
) -> None:
    response = gateway.get(target)
    assert response.status == 308
    assert urljoin(f"http://gate.test{target}", response.get("location") or "") == f"http://gate.test{there}"
    assert gateway.get(there).status == 200


def test_stripped_target_names_no_host(gateway: RunningGateway, origin: Origin) -> None:
    assert gateway.get("/strip//evil.example/x").json()["target"] == "/evil.example/x"
