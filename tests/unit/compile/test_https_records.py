"""The HTTPS records that a configuration asks for."""

from typing import Any

import dns.rdatatype
import dns.zone
import pytest

from headgate.compile.https_records import https_records
from headgate.config.errors import ConfigError
from headgate.config.model import GatewayConfig

TLS = {"local": ["localhost"]}


def records(**said: Any) -> list[str]:
    listeners = said.pop("listeners", [{"address": ":443", "tls": TLS, "http3": True}])
    routes = said.pop("routes", [{"host": "shop.example.com", "respond": "ok"}])
    return https_records(GatewayConfig.model_validate({"listeners": listeners, "routes": routes, **said}))


def test_names_of_routes_have_a_record_each_that_name_servers_take() -> None:
    hosts = ["shop.example.com", "*.example.com", "example.com"]
    found = records(routes=[{"host": hosts, "respond": "ok"}, {"path": "/x", "respond": "ok"}])
    assert found == [f'{host}. 3600 IN HTTPS 1 . alpn="h3,h2"' for host in hosts]
    zone = dns.zone.from_text("\n".join(found), "example.com.", check_origin=False, relativize=False)
    data = zone.get_rdataset("shop.example.com.", dns.rdatatype.HTTPS)
    assert data is not None
    assert data[0].to_text() == '1 . alpn="h3,h2"'


def test_other_ports_have_names_of_their_own() -> None:
    listeners = [{"address": ":8443", "tls": TLS, "http3": True}]
    expected = ['_8443._https.shop.example.com. 3600 IN HTTPS 1 shop.example.com. alpn="h3,h2"']
    assert records(listeners=listeners) == expected
    assert records(listeners=listeners, routes=[{"host": "*.example.com", "respond": "ok"}]) == []
    mapped = [{"address": ":8443", "tls": TLS, "http3": True, "http3_port": 443}]
    assert records(listeners=mapped) == ['shop.example.com. 3600 IN HTTPS 1 . alpn="h3,h2"']


def test_settings_show_in_what_is_said() -> None:
    assert records(http2={"enabled": False}, http3={"alt_svc_max_age": None}) == [
        'shop.example.com. 300 IN HTTPS 1 . alpn="h3"'
    ]


def test_where_nothing_is_to_be_published_it_says_why() -> None:
    with pytest.raises(ConfigError, match="no listener speaks HTTP/3"):
        records(listeners=[{"address": ":443", "tls": TLS}])
    with pytest.raises(ConfigError, match="no route says which names"):
        records(routes=[{"respond": "ok"}])
