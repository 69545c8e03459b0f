"""HTTP/3 on listeners: what it needs, and what it does not go with."""

import json
from pathlib import Path

import pytest

from headgate import Gateway
from headgate.compile.order import compile_gateway
from headgate.config.model import GatewayConfig

LOCAL = {"local": ["localhost"]}


@pytest.mark.parametrize(
    ("listener", "told"),
    [
        ({}, "`http3` without `tls`"),
        ({"tls": LOCAL, "proxy_protocol": "v2"}, "`http3` with `proxy_protocol`"),
        ({"tls": LOCAL, "tls_passthrough": True}, "`http3` with `tls_passthrough`"),
        ({"tls": LOCAL, "address": "unix:/run/gate.sock"}, "`http3` on a Unix socket"),
        ({"tls": LOCAL, "http3": False, "http3_early_data": True}, "`http3_early_data` without `http3`"),
        (
            {
                "tls": LOCAL | {"client_certificates": {"mode": "optional", "ca": ["a.pem"]}},
                "http3_early_data": True,
            },
            "`http3_early_data` with `client_certificates`",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_hint(listener: dict[str, object], told: str) -> None:
    with pytest.raises(Exception, match=told):
        GatewayConfig.model_validate({"listeners": [{"address": ":8443", "http3": True, **listener}]})


@pytest.mark.parametrize("key", ["qlog_share", "qlog_max_files", "qlog_max_bytes"])
def test_what_is_of_qlog_needs_its_folder(key: str) -> None:
    given = {key: "50%" if key == "qlog_share" else 2000}
    with pytest.raises(Exception, match=f"`{key}` has no effect without `qlog`"):
        GatewayConfig.model_validate({"http3": given})
    # where the folder is taken away for a while, the rest may stay
    assert GatewayConfig.model_validate({"http3": given | {"qlog": None}}).http3.qlog is None
    assert GatewayConfig.model_validate({"http3": given | {"qlog": "/q"}}).http3.qlog == "/q"


def test_hooks_may_see_the_hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_DATA_DIR", str(tmp_path))
    gate = Gateway()
    listener = gate.listen(":8443", tls=LOCAL, http3=True)
    gate.route("/", respond="ok")

    @listener.client_hello
    def choose(connection: object) -> None:
        """Nothing."""

    listeners = json.loads(compile_gateway(gate).snapshot)["listeners"]
    assert [(one["http3"], len(one["hooks"]["client_hello"])) for one in listeners] == [(True, 1)]


def test_its_port_of_udp_is_taken() -> None:
    taken = {
        "listeners": [{"address": ":8443", "tls": LOCAL, "http3": True}],
        "udp": [{"address": ":8443", "to": "a:1"}],
    }
    with pytest.raises(Exception, match=r"duplicate address|overlap"):
        GatewayConfig.model_validate(taken)


def test_its_socket_is_bound_beside_that_of_tcp() -> None:
    gate = Gateway()
    gate.listen(":8443", tls=LOCAL, http3=True)
    gate.listen(":8080")
    gate.route("/", respond="ok")
    assert compile_gateway(gate).addresses == (":8443", ":8080", "http3::8443")


@pytest.mark.parametrize(
    ("upstream", "told"),
    [
        ({"servers": ["10.0.0.1:443"]}, "`protocol: h3` with `10.0.0.1:443`, which has no TLS"),
        ({"servers": ["https://a.test", "unix:/run/a.sock"]}, "which has no TLS"),
        ({"servers": ["https://a.test"], "proxy_protocol": "v2"}, "`protocol: h3` with `proxy_protocol`"),
        ({"servers": ["https://a.test"], "source": "client"}, "`protocol: h3` with `source`"),
        ({"servers": ["https://a.test"], "grpc_web": True}, "grpc_web"),
    ],
)
def test_upstreams_that_cannot_speak_it_are_refused_with_a_hint(
    upstream: dict[str, object], told: str
) -> None:
    with pytest.raises(Exception, match=told):
        GatewayConfig.model_validate(
            {"upstreams": {"a": {"protocol": "h3", **upstream}}, "routes": [{"to": "a"}]}
        )
