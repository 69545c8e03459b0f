"""Requests that a rule leaves out are told by the method and the path of the request, by nothing else that it says."""

from typing import Any

import pytest

from headgate import Gateway
from headgate.plugins import IpRestriction, KeyAuth
from headgate.testing import TestGateway


def gateway_with(**use: Any) -> TestGateway:
    gate = Gateway()
    gate.route("/", respond="in")
    gate.use(KeyAuth(keys={"alice": "a-key"}), **use)
    return TestGateway(gate)


@pytest.mark.parametrize(
    "use",
    [
        {"when": '!request.path.startsWith("/public/")'},
        {"when": '!(request.method == "GET" && request.path.startsWith("/public/"))'},
        {"on": "/admin/*"},
    ],
    ids=["by path", "by method and path", "by pattern"],
)
@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/admin/x?y=/public/", {}),
        ("/admin/x?/public/", {}),
        ("/admin/x;/public/", {}),
        ("/admin/..%2fpublic/x", {}),
        ("/admin/x", {"x-forwarded-uri": "/public/"}),
        ("/admin/x", {"x-original-url": "/public/", "x-rewrite-url": "/public/"}),
        ("/admin/x", {"x-forwarded-prefix": "/public/", "x-original-uri": "/public/"}),
        ("/admin/x", {"x-forwarded-method": "OPTIONS", "x-http-method-override": "OPTIONS"}),
        ("/admin/x", {"user-agent": "kube-probe/1.30"}),
        ("/admin/x", {"user-agent": "GoogleHC/1.0"}),
        ("/admin/x", {"user-agent": "ELB-HealthChecker/2.0"}),
        ("/admin/x", {"x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1"}),
        ("/admin/x", {"referer": "https://site.example/public/", "origin": "https://site.example"}),
    ],
)
def test_nothing_but_method_and_path_leads_around_a_key(
    use: dict[str, Any], target: str, headers: dict[str, str]
) -> None:
    with gateway_with(**use) as gateway:
        assert gateway.get(target, headers).status in (400, 401)
        assert gateway.get("/public/x").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": "10.0.0.1"},
        {"x-forwarded-for": "10.0.0.1, 203.0.113.7"},
        {"forwarded": "for=10.0.0.1"},
        {"x-real-ip": "10.0.0.1"},
        {"x_forwarded_for": "10.0.0.1"},
        {"client-ip": "10.0.0.1", "true-client-ip": "10.0.0.1", "cf-connecting-ip": "10.0.0.1"},
    ],
)
def test_by_default_nobody_is_trusted_to_say_whose_address_counts(headers: dict[str, str]) -> None:
    gate = Gateway()
    gate.route("/", respond="in")
    gate.use(IpRestriction(allow=["10.0.0.0/8"]))
    with TestGateway(gate) as gateway:
        assert gateway.get("/", headers, address="203.0.113.7").status == 403
        assert gateway.get("/", address="10.0.0.1").status == 200
