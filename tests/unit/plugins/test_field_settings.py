"""Settings that become header fields: what no field can have is refused when it is loaded, not at each request."""

from typing import Any

import pytest

from headgate import ConfigError
from headgate.plugins import AwsSigv4, AzureFunctions, KeyAuth, RequestId, SecurityHeaders, TrafficSplit

SIGNED = {"access_key": "a", "secret_key": "b", "region": "c", "service": "s3"}
SPLIT = {"parts": [{"upstream": "a", "weight": 1}]}


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (RequestId, {"header": "x y"}),
        (RequestId, {"header": "content-length"}),
        (TrafficSplit, {**SPLIT, "header": "x y"}),
        (SecurityHeaders, {"permissions_policy": "camera=()\n"}),
        (SecurityHeaders, {"content_security_policy": "default-src 'self';\n img-src *"}),
        (KeyAuth, {"keys": {"alice\r\nx-admin: 1": "a"}}),
        (KeyAuth, {"keys": {"alice": "a"}, "anonymous": "b\n"}),
        (AwsSigv4, {**SIGNED, "session_token": "t\n"}),
        (AzureFunctions, {"key": "k\n"}),
    ],
)
def test_what_can_be_no_field_is_refused(kind: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match=r"control character|not a valid header field name|frames the message"
    ):
        kind(**settings)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (RequestId, {"header": "x-id"}),
        (TrafficSplit, {**SPLIT, "header": "x-part"}),
        (SecurityHeaders, {"permissions_policy": "camera=(),\tmicrophone=()"}),
        (KeyAuth, {"keys": {"ålice": "a"}}),
        (AwsSigv4, {**SIGNED, "session_token": "t"}),
        (AzureFunctions, {"key": "k"}),
    ],
)
def test_what_can_be_one_is_taken(kind: Any, settings: dict[str, Any]) -> None:
    assert kind(**settings).config is not None
