"""Redirects and fixed responses: what a route responds without asking a server."""

import pytest
from e2e.kit import RunningGateway, Serve


@pytest.fixture(scope="module")
def gateway(serve_module: Serve) -> RunningGateway:
    headers = {"content-type": "text/x-fixed", "cache-control": "no-store"}
    return serve_module(
        {
            "routes": [
                {"path": "/https/*", "redirect": "https://{host}{path}"},
                {"path": "/see", "redirect": {"location": "/other?{query}", "status": 303}},
                {"path": "/old/{id}", "redirect": {"location": "/new/{id}", "status": 301}},
                {"path": "/text", "respond": "hello"},
                {"path": "/teapot", "respond": {"status": 418, "headers": headers, "body": "short"}},
                {"path": "/gone", "respond": 410},
                {"path": "/empty", "respond": 204},
            ]
        }
    )


REDIRECTS = [
    ("/https/a/b", 308, "https://shop.test/https/a/b"),
    ("/see?a=1&b=2", 303, "/other?a=1&b=2"),
    ("/old/42", 301, "/new/42"),
]


@pytest.mark.parametrize(("target", "status", "location"), REDIRECTS)
def test_redirect_says_where(gateway: RunningGateway, target: str, status: int, location: str) -> None:
    response = gateway.get(target, host="shop.test")
    assert (response.status, response.get("location")) == (status, location)


def test_redirect_cannot_be_made_to_split_the_response(gateway: RunningGateway) -> None:
    response = gateway.get("/old/x%0d%0aSet-Cookie:%20evil=1")
    assert response.get("set-cookie") is None
    assert response.get("location") == "/new/x%0D%0ASet-Cookie:%20evil=1"


def test_fixed_text_is_the_response(gateway: RunningGateway) -> None:
    response = gateway.get("/text")
    assert (response.status, response.text) == (200, "hello")
    assert response.get("content-type") == "text/plain; charset=utf-8"
    assert response.get("date") is not None


def test_fixed_response_has_status_headers_and_body(gateway: RunningGateway) -> None:
    response = gateway.get("/teapot")
    assert (response.status, response.text) == (418, "short")
    assert response.get("content-type") == "text/x-fixed"
    assert response.get("cache-control") == "no-store"


def test_status_alone_is_a_response(gateway: RunningGateway) -> None:
    assert gateway.get("/gone").status == 410


def test_fixed_response_without_content_ends_at_the_head(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        response = client.get("/empty")
        assert (response.status, response.get("content-length")) == (204, None)
        assert client.get("/text").text == "hello"


def test_head_of_a_fixed_response_has_its_length(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        assert client.request("HEAD", "/text").get("content-length") == "5"
        assert client.get("/text").text == "hello"


def test_body_sent_to_a_fixed_response_is_discarded(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        response = client.request("POST", "/text", body=b"GET /gone HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        assert response.text == "hello"
        if response.get("connection") != "close":
            assert client.get("/teapot").status == 418
