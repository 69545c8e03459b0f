"""Certificates as resources: with their text in the document, masked keys, and what does not fit together."""

import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from e2e.kit import RunningGateway, Serve, TlsClient
from e2e.kit.admin import Admin
from e2e.kit.pki import Authority, Leaf

MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
def leaves(authority: Authority) -> dict[str, Leaf]:
    return {name: authority.issue(f"{name}.example") for name in ("gate", "one", "two")}


@pytest.fixture
def gateway(serve: Serve, tmp_path: Path, leaves: dict[str, Leaf]) -> RunningGateway:
    gate = f"""
from headgate import Gateway

gate = Gateway()
gate.listen(LISTEN, tls={{"certificates": {[leaves["gate"].files]!r}, "unknown_names": "default"}})
gate.admin("unix:{tmp_path}/admin.sock")
gate.state_folder("{tmp_path}/state")
gate.route("/", respond="here")
"""
    return serve(gate, workers=2, environment={"KEY_OF_TWO": Path(leaves["two"].key).read_text()})


def text(leaf: Leaf) -> dict[str, Any]:
    return {"certificate": Path(leaf.chain).read_text(), "key": Path(leaf.key).read_text()}


def shown_to(gateway: RunningGateway, authority: Authority, name: str) -> set[str]:
    """The names in the certificates that all workers show."""
    found = set()
    for _ in range(6):
        context = authority.client()
        context.check_hostname = False
        with TlsClient(gateway.address, context, name) as client:
            shown = x509.load_der_x509_certificate(client.certificate)
            names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            found |= {*names.get_values_for_type(x509.DNSName)}
    return found


def test_certificates_with_their_text_serve_and_their_keys_are_masked(
    gateway: RunningGateway, authority: Authority, leaves: dict[str, Leaf], tmp_path: Path
) -> None:
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    shown = [admin.put("/v1/certificates/one", text(leaves["one"]))]
    assert shown[0].status == 201, shown[0].body
    two = {"certificate": Path(leaves["two"].chain).read_text(), "key": "env:KEY_OF_TWO"}
    assert admin.put("/v1/certificates/two", two).status == 201
    for name in ("one", "two"):
        assert shown_to(gateway, authority, f"{name}.example") == {f"{name}.example"}
    assert shown_to(gateway, authority, "gate.example") == {"gate.example"}
    shown += [
        admin.get(f"/v1/{target}")
        for target in ("certificates/one", "certificates", "history", "export", "config")
    ]
    texts = [response.body.decode() for response in shown] + [gateway.log()]
    assert all(
        "PRIVATE KEY-----" not in one and text(leaves["one"])["key"][40:80] not in one for one in texts
    )
    document = shown[1].json()
    assert document["certificate"] == text(leaves["one"])["certificate"]
    assert admin.put("/v1/certificates/one", document).status == 422, "a masked key is no key"
    for file in (tmp_path / "state" / "certificates").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert admin.get("/v1/certificates/two").json()["key"] == "env:KEY_OF_TWO"
    assert admin.ask("PATCH", "/v1/certificates/one", {"names": ["alias.example"]}, MERGE).status == 200
    assert shown_to(gateway, authority, "alias.example") == {"one.example"}
    assert admin.delete("/v1/certificates/one").status == 204
    assert shown_to(gateway, authority, "alias.example") == {"gate.example"}


def test_what_is_no_certificate_with_its_key_is_refused(
    gateway: RunningGateway, authority: Authority, leaves: dict[str, Leaf], tmp_path: Path
) -> None:
    admin = Admin(f"unix:{tmp_path}/admin.sock")
    one, two = text(leaves["one"]), text(leaves["two"])
    both = one["certificate"] + one["key"]
    (tmp_path / "empty.pem").write_text("")
    for document, message in (
        ({"certificate": one["certificate"]}, "a certificate that is written as text has no key"),
        ({"certificate": both, "key": one["key"]}, "a certificate that is written as text holds its key"),
        ({**one, "key": two["key"]}, "is not the one of the certificate"),
        ({**one, "certificate": one["certificate"][:200]}, "certificate"),
        ({**one, "key": one["certificate"]}, "holds no private key"),
        ({**one, "key": "env:NOT_THERE"}, "the environment variable `NOT_THERE` is not set"),
        ({**one, "key": "env:HOME"}, "the secret is not PEM"),
        ({**one, "key": f"file:{tmp_path}/gone"}, "cannot be read"),
        ({"certificate": leaves["one"].chain}, "holds no private key"),
        ({"certificate": str(tmp_path / "empty.pem"), "key": leaves["one"].key}, "holds no certificate"),
        ({"certificate": leaves["one"].chain, "key": "/gone.key"}, "the file `/gone.key` does not exist"),
    ):
        refused = admin.put("/v1/certificates/c", document)
        assert refused.status == 422 and message in refused.json()["detail"], (message, refused.body)
        assert b"PRIVATE KEY-----\\n" not in refused.body
    assert shown_to(gateway, authority, "one.example") == {"gate.example"}
    assert admin.get("/v1/certificates").json()["items"] == []
