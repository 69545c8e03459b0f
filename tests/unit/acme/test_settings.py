"""What `acme` in a configuration comes to."""

import pytest

from headgate.acme.dns import DnsError, wait_for
from headgate.config.acme import DIRECTORIES, AcmeConfig
from headgate.config.errors import ConfigError
from headgate.config.model import GatewayConfig


def config(acme: object, *hosts: str) -> GatewayConfig:
    routes = [{"host": host, "respond": "fine"} for host in hosts]
    listeners = [{"address": ":443", "tls": "auto"}]
    return GatewayConfig.parse({"listeners": listeners, "acme": acme, "routes": routes})


def test_staging_is_an_authority_of_lets_encrypt() -> None:
    assert AcmeConfig().authorities()[0].directory == DIRECTORIES["letsencrypt"]
    assert AcmeConfig(staging=True).authorities()[0].directory == DIRECTORIES["letsencrypt-staging"]
    with pytest.raises(ConfigError, match="staging"):
        AcmeConfig.parse({"staging": True, "directory": "zerossl"})


def test_names_are_the_hosts_of_routes_and_those_listed() -> None:
    made = config(
        {"names": "www.shop.test"},
        "shop.test",
        "*.shop.test",
        "~^x.*$",
        "www.*",
        "localhost",
        "db.internal",
        "10.0.0.1",
    )
    assert made.uses_acme and made.acme_names() == ["www.shop.test", "shop.test"]
    dns = {"provider": "cloudflare", "options": {"auth_token": "t"}}
    with_dns = config({"challenges": "dns-01", "dns": dns}, "shop.test", "*.shop.test")
    assert with_dns.acme_names() == ["shop.test", "*.shop.test"]


@pytest.mark.parametrize(
    ("acme", "told"),
    [
        ({"challenges": "dns-01"}, r"`dns-01` without `dns`.*"),
        ({"names": "*.shop.test"}, r"needs the challenge `dns-01`"),
        ({"directory": "http://authority.test/dir"}, r"is not a valid ACME authority"),
        ({"directory": "letsencript"}, r"is not a valid ACME authority"),
        ({"email": "nobody"}, r"email"),
        ({"key_types": "dsa"}, r"key_types"),
    ],
)
def test_settings_that_cannot_work_are_refused(acme: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config(acme, "shop.test")


def test_secrets_are_never_shown() -> None:
    made = config({"eab": {"key_id": "k", "key": "very-secret"}}, "shop.test")
    dns = {"provider": "cloudflare", "options": {"auth_token": "very-secret"}}
    other = config({"challenges": "dns-01", "dns": dns}, "shop.test")
    assert "very-secret" not in repr(made) + made.model_dump_json() + repr(other) + other.model_dump_json()


def test_record_that_no_server_shows_is_waited_for_as_long_as_said() -> None:
    with pytest.raises(DnsError, match=r"did not show the record at `x\.test` in 0\.1 s"):
        wait_for("x.test", "value", ("127.0.0.1:1",), 0.1)
