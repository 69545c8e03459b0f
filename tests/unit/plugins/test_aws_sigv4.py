"""aws-sigv4: AWS's own vectors, botocore as the reference, and requests that would be signed wrongly."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate import ConfigError, Gateway
from headgate.plugins import AwsSigv4
from headgate.plugins._sigv4 import (
    canonical_path,
    canonical_query,
    canonical_request,
    encoded_once,
    signature,
    signing_key,
    without_dots,
)
from headgate.testing import Received, TestGateway

auth = pytest.importorskip("botocore.auth")
awsrequest = pytest.importorskip("botocore.awsrequest")
credentials = pytest.importorskip("botocore.credentials")

SUITE = json.loads((Path(__file__).parent / "vectors" / "aws_sigv4.json").read_text())
VECTORS: dict[str, dict[str, Any]] = SUITE["vectors"]
SERVER, HOST = "server.test:80", "files.s3.eu-central-1.amazonaws.com"
KEYS = {"access_key": SUITE["key"], "secret_key": SUITE["secret"], "region": "eu-central-1"}


def parsed(text: str) -> tuple[str, str, list[tuple[str, str]], bytes]:
    head, _, body = text.partition("\n\n")
    first, *lines = head.rstrip("\n").split("\n")
    method, _, rest = first.partition(" ")
    fields: list[tuple[str, str]] = []
    for line in lines:
        if line.startswith(" "):
            name, value = fields.pop()
            fields.append((name, f"{value} {line}"))
        else:
            name, _, value = line.partition(":")
            fields.append((name, value))
    return method, rest.rpartition(" HTTP/")[0], fields, body.encode()


@pytest.mark.parametrize("name", VECTORS)
def test_a_vector_of_aws_comes_out(name: str) -> None:
    vector = VECTORS[name]
    method, target, fields, body = parsed(vector["request"])
    path, _, query = target.partition("?")
    digest = hashlib.sha256(body).hexdigest()
    moment = "20210511T154045Z" if vector.get("is_doubled") else "20150830T123600Z"
    fields = [one for one in fields if one[0].lower() != "x-amz-date"] + [("X-Amz-Date", moment)]
    if "token" in vector and not vector.get("omit"):
        fields.append(("X-Amz-Security-Token", vector["token"]))
    if vector.get("sign_body"):
        fields.append(("x-amz-content-sha256", digest))
    if vector.get("is_doubled"):
        made = canonical_path(path, is_s3=False)
    else:
        made = encoded_once(without_dots(path) if vector["normalize"] else path)
    canonical = canonical_request(method, made, query, fields, digest)
    assert canonical.text.replace("\n\n\n", "\n\n") == vector["canonical"].replace("\n\n\n", "\n\n")
    if "signature" in vector:
        key = signing_key(SUITE["secret"], "20150830", "us-east-1", "service")
        scope = "20150830/us-east-1/service/aws4_request"
        assert signature(key, moment, scope, canonical.text) == vector["signature"]


def by_botocore(received: Received, service: str) -> str:
    """The signature that botocore gives for what the server received."""
    headers = received.headers
    signed = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    moment = headers["x-amz-date"]
    kind = auth.S3SigV4Auth if service == "s3" else auth.SigV4Auth
    signer = kind(credentials.Credentials(SUITE["key"], SUITE["secret"]), service, "eu-central-1")
    path, _, query = received.target.partition("?")
    # botocore makes its URLs itself: for S3 it takes the path as canonical, and parameters decoded
    path = quote(unquote(path), safe="/-_.~") if service == "s3" else path
    url = f"https://{headers['host']}{path}"
    request = awsrequest.AWSRequest(received.method, url, data=received.body)
    request.params = parse_qsl(query, keep_blank_values=True)
    for name in signed:
        request.headers[name] = ",".join(headers.get_all(name))
    request.context["timestamp"] = moment
    parts = urlsplit(url)
    text = "\n".join(
        (
            received.method,
            signer._normalize_url_path(parts.path),
            signer.canonical_query_string(request),
            signer.canonical_headers(signer.headers_to_sign(request)) + "\n",
            signer.signed_headers(signer.headers_to_sign(request)),
            headers["x-amz-content-sha256"],
        )
    )
    return str(signer.signature(signer.string_to_sign(request, text), request))


def running(**settings: Any) -> TestGateway:
    gate = Gateway()
    gate.route("/", to=SERVER)
    gate.use(AwsSigv4(**{**KEYS, "service": "s3", "host": HOST, **settings}))
    return TestGateway(gate, upstreams={SERVER: "ok"})


def told_signature(received: Received) -> str:
    return received.headers["authorization"].rpartition("Signature=")[2]


@pytest.mark.parametrize("service", ["s3", "lambda", "execute-api"])
@pytest.mark.parametrize(
    "target",
    [
        *("/", "/JULY%2027.zip", "/a/b.txt?acl", "/x?list-type=2&prefix=a%2Fb&delimiter=/"),
        *("/x?b=2&a=1&a=0&B=3&=5", "/x?empty=&flag", "/%C3%A4/%E2%82%AC", "/a+b:c@d,e;f=g'(h)*!$"),
        *("/functions/arn%3Aaws%3Alambda/invocations", "/~user/-_.~", "/x?q=%20&r=%2B&s=%7E~", "/%41%42"),
    ],
)
def test_botocore_signs_the_same(service: str, target: str) -> None:
    with running(service=service) as gateway:
        assert gateway.post(target, "body of it").status == 200
        (received,) = gateway.received
    assert received.target == target.replace("/%41%42", "/AB") and received.headers["host"] == HOST
    assert received.headers["x-amz-content-sha256"] == hashlib.sha256(b"body of it").hexdigest()
    assert told_signature(received) == by_botocore(received, service)


def test_a_blank_is_never_told_by_a_plus() -> None:
    with running() as gateway:
        gateway.get("/x?prefix=a+b%2Bc")
        (received,) = gateway.received
    assert received.target == "/x?prefix=a%20b%2Bc"
    assert told_signature(received) == by_botocore(received, "s3")


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=5), st.randoms())
def test_a_query_is_signed_alike_in_any_order_and_encoding(pairs: list[tuple[str, str]], chance: Any) -> None:
    def spelt(text: str) -> str:
        return "".join(
            one
            if one.isascii() and one.isalnum() and chance.random() < 0.5
            else "".join(f"%{byte:02x}" for byte in one.encode("utf-8", "replace"))
            for one in text
        )

    first, second = ([f"{spelt(name)}={spelt(value)}" for name, value in pairs] for _ in range(2))
    chance.shuffle(second)
    assert canonical_query("&".join(first)) == canonical_query("&".join(second))


def test_what_clients_say_of_signatures_is_not_signed() -> None:
    hostile = [
        *(("Authorization", "AWS4-HMAC-SHA256 Credential=evil"), ("X-Amz-Security-Token", "evil")),
        *(
            ("X-Amz-Copy-Source", "/other/secret"),
            ("x_amz_acl", "public-read"),
            ("X-Amz-Date", "20000101T000000Z"),
        ),
        *(
            ("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
            ("X-Amz-Meta-Title", "a  b"),
            ("X-Amz-Meta-Title", "c"),
        ),
    ]
    with running(keep=["X-Amz-Meta-Title"], session_token="a-token") as gateway:
        gateway.request("PUT", "/x", hostile, body="b")
        (received,) = gateway.received
    fields = {name.lower().replace("_", "-"): value for name, value in received.headers.raw}
    assert fields["x-amz-security-token"] == "a-token" and len(received.headers.get_all("authorization")) == 1
    assert not {"x-amz-copy-source", "x-amz-acl"} & set(fields) and fields["x-amz-date"] > "2026"
    assert (
        "host;x-amz-content-sha256;x-amz-date;x-amz-meta-title;x-amz-security-token,"
        in fields["authorization"]
    )
    assert told_signature(received) == by_botocore(received, "s3")


def test_bodies_are_signed_up_to_a_bound_or_not_at_all() -> None:
    with running(max_body_bytes=5) as gateway:
        assert [gateway.post("/x", "x" * size).status for size in (5, 6)] == [200, 413]
        assert len(gateway.received) == 1
    with running(max_body_bytes=5, unsigned_body=True) as gateway:
        assert gateway.post("/x", "x" * 100_000).status == 200
        (received,) = gateway.received
    assert received.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD" and len(received.body) == 100_000
    assert told_signature(received) == by_botocore(received, "s3")


def test_the_day_is_that_of_the_signature() -> None:
    gate, plugin = Gateway(), AwsSigv4(**KEYS, service="s3", host=HOST)
    gate.route("/", to=SERVER)
    gate.use(plugin)
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        for moment in (1_790_000_000, 1_790_086_400, 1_790_000_000):
            plugin._clock = lambda now=moment: now
            gateway.get("/x")
            told = gateway.received[-1].headers
            assert told["x-amz-date"] == time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))
            assert f"/{told['x-amz-date'][:8]}/eu-central-1/" in told["authorization"]
            assert told_signature(gateway.received[-1]) == by_botocore(gateway.received[-1], "s3")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"service": "lambda", "unsigned_body": True}, "takes no body that is not signed"),
        ({"region": "eu/central"}, "region"),
        ({"keep": ["x-amz-date"]}, "cannot be kept"),
        ({"keep": ["authorization"]}, "cannot be kept"),
        ({"host": "a/b"}, "host"),
        ({"access_key": ""}, "access_key"),
        ({"secret_key": ""}, "secret_key"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AwsSigv4(**{**KEYS, "service": "s3", **settings})


def test_the_secret_is_not_shown() -> None:
    assert SUITE["secret"] not in repr(AwsSigv4(**KEYS, service="s3").config)
