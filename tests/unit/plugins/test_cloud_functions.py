"""azure-functions and google-functions: tokens asked for once, kept, replaced in time, and never a client's own.

No service of Azure or Google is asked: what they reply is written down here as their documents have it.
"""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from headgate import ConfigError, Gateway, Plugin, Response
from headgate.plugins import AzureFunctions, GoogleFunctions
from headgate.testing import Received, TestGateway

SERVER, LOGIN, GOOGLE = "server.test:80", "http://login.test", "http://google.test"
APPLICATION = {
    "tenant": "contoso.example",
    "client_id": "app",
    "client_secret": "hush",
    "scope": "api://x/.default",
    "authority": LOGIN,
}
HOSTILE = [("authorization", "Bearer mine"), ("X_Functions_Key", "mine"), ("x-functions-key", "mine")]


def running(plugin: Plugin, token: Any = "ok") -> TestGateway:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(plugin)
    return TestGateway(gate, upstreams={SERVER: "ok", LOGIN: token, GOOGLE: token})


def given(**said: Any) -> Any:
    numbers = iter(range(1, 100))

    def token(received: Received) -> Response:
        body = {"access_token": f"token-{next(numbers)}", "expires_in": 3600, "token_type": "Bearer", **said}
        return Response.json(body)

    return token


def to_server(gateway: TestGateway) -> list[Received]:
    return [one for one in gateway.received if one.upstream or one.server == SERVER]


def asked(gateway: TestGateway) -> list[Received]:
    return [one for one in gateway.received if one.path.endswith("/token")]


def test_a_key_replaces_whatever_the_client_has() -> None:
    with running(AzureFunctions(key="function-key")) as gateway:
        assert gateway.get("/api/f?a=1&code=mine&b=%20&co%64e=mine", HOSTILE).status == 200
        (received,) = gateway.received
    assert received.headers.get_all("x-functions-key") == ["function-key"]
    assert "authorization" not in received.headers and "x_functions_key" not in received.headers
    assert received.target == "/api/f?a=1&b=%20"


def test_a_token_is_asked_for_once_and_used_by_all() -> None:
    with running(AzureFunctions(**APPLICATION), given()) as gateway:
        pending = [gateway.start("GET", "/", HOSTILE) for _ in range(20)]
        assert [one.result().status for one in pending] == [200] * 20
        (login,) = asked(gateway)
        assert {one.headers["authorization"] for one in to_server(gateway)} == {"Bearer token-1"}
    assert login.path == "/contoso.example/oauth2/v2.0/token"
    assert parse_qs(login.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["app"],
        "client_secret": ["hush"],
        "scope": ["api://x/.default"],
    }


def test_a_token_is_replaced_before_its_end_and_used_meanwhile_if_there_is_no_other() -> None:
    plugin = AzureFunctions(**APPLICATION)
    replies = [given(), given(access_token="second"), lambda _: Response(500), given(access_token="third")]
    now = 1000.0

    def token(received: Received) -> Response:
        made: Response = replies[len(asked(gateway)) - 1](received)
        return made

    with running(plugin, token) as gateway:
        assert plugin._tokens is not None
        plugin._tokens._clock = lambda: now
        used = []
        for moment in (1000.0, 4530.0, 4545.0, 8080.0, 8090.0, 8146.0):
            now = moment
            used.append(gateway.get("/").status)
        assert used == [200] * 6
        tokens = [one.headers["authorization"].partition(" ")[2] for one in to_server(gateway)]
    assert tokens == ["token-1", "token-1", "second", "second", "second", "third"]


@pytest.mark.parametrize(
    "reply",
    [
        Response(400, '{"error": "invalid_client", "error_description": "hush"}'),
        Response(500),
        Response(302, headers=[("location", "http://server.test/")]),
        Response.json([]),
        Response.json({"access_token": ""}),
        Response.json({"access_token": 7}),
        Response.json({"access_token": "a\r\nx: y"}),
        Response.json({"access_token": "x" * 20_000}),
        Response.json({"access_token": "x", "expires_in": "soon"}),
        Response.json({"access_token": "x", "expires_in": -5}),
        Response(200, "[" * 50_000),
        Response(200, b"x" * 1_000_000),
    ],
)
def test_without_a_token_nothing_goes_on(reply: Response, caplog: pytest.LogCaptureFixture) -> None:
    plugin = AzureFunctions(**APPLICATION)
    with running(plugin, lambda _: reply) as gateway:
        responses = [gateway.get("/", HOSTILE) for _ in range(3)]
        assert [one.status for one in responses] == [503] * 3 and "hush" not in responses[0].text
        assert to_server(gateway) == [] and len(asked(gateway)) == 1
        assert plugin._denied.value == 3
    assert "hush" not in caplog.text


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "either a key or an application"),
        ({"key": "a", "tenant": "b"}, "either a key or an application"),
        ({"tenant": "b", "client_id": "c"}, "is not complete"),
        ({"key": "hush\n"}, "the secret has a control character"),
        ({**APPLICATION, "tenant": "../common"}, "tenant"),
        ({**APPLICATION, "authority": "login"}, "is not a valid URL"),
    ],
)
def test_settings_of_azure_that_cannot_be_are_refused(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        AzureFunctions(**settings)
    assert "hush" not in str(refused.value)


def account(tmp_path: Path, key: Any = None, **said: Any) -> tuple[Path, Any]:
    key = key or rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    file = tmp_path / "account.json"
    known = {
        "client_email": "me@x.example",
        "private_key_id": "7",
        "private_key": pem,
        "token_uri": f"{GOOGLE}/token",
    }
    file.write_text(json.dumps({**known, **said}))
    return file, key


def decoded(text: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def test_an_identity_token_is_exchanged_for_a_signed_assertion(tmp_path: Path) -> None:
    file, key = account(tmp_path)
    plugin = GoogleFunctions(credentials=file, audience="https://f.example/api")
    with running(plugin, lambda _: Response.json({"id_token": "ey.token"})) as gateway:
        plugin._clock = lambda: 1_700_000_000.5
        for _ in range(3):
            assert gateway.get("/", [*HOSTILE, ("X-Serverless-Authorization", "mine")]).status == 200
        (exchange,) = asked(gateway)
        assert {one.headers["authorization"] for one in to_server(gateway)} == {"Bearer ey.token"}
        assert all("x-serverless-authorization" not in one.headers for one in to_server(gateway))
    form = parse_qs(exchange.body.decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    text, _, mac = form["assertion"][0].rpartition(".")
    key.public_key().verify(
        base64.urlsafe_b64decode(mac + "=="), text.encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    head, claims = map(decoded, text.split("."))
    assert head == {"alg": "RS256", "typ": "JWT", "kid": "7"}
    assert claims == {
        "iss": "me@x.example",
        "sub": "me@x.example",
        "aud": f"{GOOGLE}/token",
        "target_audience": "https://f.example/api",
        "iat": 1_700_000_000,
        "exp": 1_700_003_600,
    }


def test_files_that_are_no_account_are_refused_without_what_they_hold(tmp_path: Path) -> None:
    file, _ = account(tmp_path)
    whole = file.read_text()
    for text in ("", "[]", "{}", whole.replace("BEGIN", "BEGUN"), whole.replace("client_email", "mail")):
        file.write_text(text)
        with pytest.raises(ConfigError, match="is not the key file of a service account") as refused:
            GoogleFunctions(credentials=file, audience="https://f.example")
        assert "PRIVATE" not in str(refused.value)
    file, _ = account(tmp_path, ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(ConfigError, match="is not the key file"):
        GoogleFunctions(credentials=file, audience="https://f.example")
    file, _ = account(tmp_path, token_uri="file:///etc/passwd")
    with pytest.raises(ConfigError, match="is not a URL"):
        GoogleFunctions(credentials=file, audience="https://f.example")
    with pytest.raises(ConfigError, match="audience"):
        GoogleFunctions(credentials=account(tmp_path)[0], audience="http://f.example")
