"""What `headgate check` warns of beyond types, with file, line and hint."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from e2e.kit.pki import Authority

from headgate import Gateway
from headgate.compile.expiring import validity
from headgate.compile.lint import lint
from headgate.compile.loading import load


def warnings(folder: Path, text: str, *, known: tuple[str, ...] | None = None) -> list[str]:
    """The warnings about a YAML file; with `known`, only these names resolve."""
    file = folder / "gate.yaml"
    file.write_text(text)

    def resolve(host: str) -> None:
        if host not in (known or ()):
            raise OSError(-2, "Name or service not known")

    found = list(lint(load(file), None if known is None else resolve))
    assert all(str(problem.where).startswith(f"{file}:") and problem.hint for problem in found)
    return [f"{problem.where.line if problem.where else 0}: {problem.message}" for problem in found]


def test_an_upstream_that_nothing_leads_to_is_told(tmp_path: Path) -> None:
    text = "upstreams:\n  used: 'a:1'\n  unused: 'b:1'\nroutes:\n  - to: used\n"
    assert warnings(tmp_path, text) == ["3: nothing leads to the upstream `unused`"]


@pytest.mark.parametrize("code", ["plugins: [cors]", "admin: 'unix:/run/x.sock'"])
def test_what_code_or_resources_may_lead_to_is_not(tmp_path: Path, code: str) -> None:
    code = code.replace("[cors]", "[{plugin: cors, config: {origins: ['https://a.example']}}]")
    assert warnings(tmp_path, f"upstreams:\n  a: 'a:1'\n{code}\n") == []


PLACED = """upstreams:
  u:
    servers: ['10.0.0.1:1 zone=eu-1a metadata.version=v1', '10.0.0.2:1 zone=eu-1b metadata.stage=live']
    locality: zone
    subset_fallback: {version: v1}
"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("zone: eu-1a\n", []),
        ("", ["4: `locality` of `u` has no effect: the gateway has no `zone`"]),
        ("zone: us-1\n", ["4: no server of `u` is in the gateway's zone `us-1`"]),
    ],
)
def test_zones_without_servers_are_told(tmp_path: Path, text: str, told: list[str]) -> None:
    assert warnings(tmp_path, f"{PLACED}routes:\n  - to: u\n{text}") == told


@pytest.mark.parametrize(
    ("to", "subset", "told"),
    [
        ("u", "{version: v1}", []),
        ("u", "{version: v3}", ["no server of `u` has `version: v3`"]),
        ("u", "{color: red}", ["no server of `u` has `color: red`"]),
        ("u", "{version: v1, stage: live}", ["no server of `u` has all of `version: v1, stage: live`"]),
        ("'10.0.0.1:1'", "{version: v1}", ["`10.0.0.1:1` is one server, without metadata"]),
    ],
)
def test_subsets_without_servers_are_told(tmp_path: Path, to: str, subset: str, told: list[str]) -> None:
    routes = f"routes:\n  - to: u\n  - to: {to}\n    path: /x\n    subset: {subset}\n"
    found = warnings(tmp_path, f"zone: eu-1a\n{PLACED}{routes}")
    assert [one.partition(": ")[2] for one in found] == told


def test_fallback_without_servers_is_told_and_lists_are_not(tmp_path: Path) -> None:
    text = "zone: eu-1a\n" + PLACED.replace("fallback: {version: v1}", "fallback: {version: v2}")
    assert warnings(tmp_path, f"{text}routes:\n  - to: u\n") == ["6: no server of `u` has `version: v2`"]
    listed = text.replace("['10", "['file:/x.txt', '10")
    assert warnings(tmp_path, f"{listed}routes:\n  - to: u\n    subset: {{version: v9}}\n") == []


@pytest.mark.parametrize(
    ("without", "added", "told"),
    [
        (
            "routes:\n  - {respond: a, metrics: {buckets: [1s, 5s]}}\n",
            "metrics: true\n",
            ["2: `metrics.buckets` of a route has no effect without `metrics`"],
        ),
        (
            "http3:\n  max_age: 10m\nroutes:\n  - respond: a\n",
            "listeners: [{address: ':8443', tls: {local: [localhost]}, http3: true}]\n",
            ["1: `http3` has no effect: no listener speaks HTTP/3"],
        ),
    ],
)
def test_settings_without_effect_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: str, added: str, told: list[str]
) -> None:
    monkeypatch.setenv("HEADGATE_DATA_DIR", str(tmp_path / "data"))
    assert warnings(tmp_path, without) == told
    assert warnings(tmp_path, without + added) == []


def test_names_that_do_not_resolve_are_told_once(tmp_path: Path) -> None:
    text = "upstreams:\n  a: ['known:1', 'gone:1', 'gone:2']\nroutes:\n  - to: a\n"
    assert warnings(tmp_path, text, known=("known",)) == ["2: `gone` of the upstream `a` does not resolve"]
    assert warnings(tmp_path, text) == []


def test_a_route_that_takes_no_request_is_told(tmp_path: Path) -> None:
    text = "routes:\n  - {name: a, path: /x, respond: a}\n  - {name: b, path: /x, respond: b}\n"
    assert [line[:12] for line in warnings(tmp_path, text)] == ["3: route `b`"]


@pytest.mark.parametrize(
    ("servers", "told"),
    [
        ("['a:1', 'a:1 weight=2']", "a:1"),
        ("['a.test:80', 'A.test.:80 backup']", "A.test.:80"),
        ("['https://a.test', 'https://a.test:443']", "https://a.test:443"),
        ("['[::1]:80', '[0:0:0:0:0:0:0:1]:80']", "[::1]:80"),
        ("['unix:/a/b', 'unix:/a/./b']", "unix:/a/./b"),
    ],
)
def test_a_server_that_is_listed_twice_is_told(tmp_path: Path, servers: str, told: str) -> None:
    text = f"routes:\n  - to: u\nupstreams:\n  u: {servers}\n"
    assert warnings(tmp_path, text) == [f"4: the upstream `u` lists the server `{told}` more than once"]


def test_servers_that_differ_by_port_or_path_are_not_the_same(tmp_path: Path) -> None:
    text = "routes:\n  - to: u\nupstreams:\n  u: ['a:1', 'a:2', 'b:1', 'unix:/a', 'unix:/b']\n"
    assert warnings(tmp_path, text) == []


CONSUMERS = """
consumers:
  alice: {keys: a-key, groups: [gold, silver]}
consumer_groups:
  gold: {}
  bronze: {}
plugins:
  - {plugin: key-auth, config: {keys: {guest: guest-key}}}
  - {plugin: cors, on: "consumer:alise", config: {origins: ["https://a.example"]}}
  - {plugin: cors, on: "consumer:guest", config: {origins: ["https://a.example"]}}
  - {plugin: cors, on: "group:golden", config: {origins: ["https://a.example"]}}
plugin_sets:
  idle: key-auth
  used: {plugins: key-auth, on: [/x, "consumer:alice", "group:nobody"]}
"""


def test_names_that_lead_to_nothing_are_told(tmp_path: Path) -> None:
    assert warnings(tmp_path, CONSUMERS) == [
        "9: there is no consumer `alise`",
        "11: there is no group `golden`",
        "14: there is no group `nobody`",
        "3: the group `silver` of consumer `alice` is not in `consumer_groups`",
        "6: no consumer is in the group `bronze`",
        "13: nothing uses the plugin set `idle`",
    ]
    assert warnings(tmp_path, f"{CONSUMERS}admin: 'unix:/run/x.sock'\n") == []  # where they may be


@pytest.mark.parametrize(
    ("days", "told"),
    [
        ((-10.0, 90.0), None),
        ((-10.0, -1.0), "expired on "),
        ((-10.0, 5.0), "expires in 5 days"),
        ((-10.0, 0.9), "expires in 1 day"),
        ((2.0, 90.0), "is not valid before "),
    ],
)
def test_certificates_that_are_not_valid_for_long_are_told(
    tmp_path: Path, days: tuple[float, float], told: str | None
) -> None:
    authority = Authority(tmp_path / "ca")
    leaf = authority.issue("a.example", days=days, rsa_key=days[0] == 2, for_both=True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.pem").write_bytes(Path(leaf.chain).read_bytes())
    text = f"""listeners:
  - address: ":8443"
    tls:
      certificates:
        - {{certificate: {leaf.chain}, key: {leaf.key}}}
        - folder
      client_certificates: {{mode: optional, ca: [{authority.ca}, {leaf.chain}]}}
upstreams:
  secure:
    servers: "https://a.example:1"
    tls: {{certificate: {{certificate: folder/b.pem, key: {leaf.key}}}}}
routes:
  - to: secure
"""
    found = warnings(tmp_path, text)
    assert [line[: line.index(":")] for line in found] == (["5", "6"] if told else [])
    assert all(told is not None and told in line for line in found), found


@pytest.mark.parametrize("text", ["", "MIIB", "AAAA", "%%%", "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"])
def test_what_is_no_certificate_has_no_validity(text: str) -> None:
    assert validity(text) is None


def test_strict_check_fails_for_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("listeners: ':8080'\nroutes: [{path: /, respond: x}]\nplugin_sets: {idle: key-auth}\n")
    relaxed, strict = (
        subprocess.run(
            [sys.executable, "-m", "headgate", "check", *flags, str(file)], capture_output=True, text=True
        )
        for flags in ((), ("--strict",))
    )
    assert relaxed.returncode == 0 and "warning: " in relaxed.stderr
    assert (
        strict.returncode == 2 and f"{file}:3: nothing uses the plugin set `idle`\n  hint: " in strict.stderr
    )


def test_check_tells_a_certificate_that_expires_soon_once(tmp_path: Path) -> None:
    leaf = Authority(tmp_path / "ca").issue("a.example", days=(-10, 3))
    file = tmp_path / "gate.yaml"
    tls = f"{{certificates: {{certificate: {leaf.chain}, key: {leaf.key}}}}}"
    file.write_text(f"listeners: {{address: ':8443', tls: {tls}}}\nroutes: [{{path: /, respond: x}}]\n")
    told = subprocess.run(
        [sys.executable, "-m", "headgate", "check", str(file)], capture_output=True, text=True
    ).stderr
    assert told.count(" expires in ") == 1 and told.startswith(f"warning: {file}:1: a certificate in "), told


def test_certificates_in_the_configuration_are_looked_at_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaf = Authority(tmp_path / "ca").issue("a.example", days=(-10, 3))
    monkeypatch.setenv("CERTIFICATE", Path(leaf.chain).read_text())
    monkeypatch.setenv("KEY", Path(leaf.key).read_text())
    lines = Path(leaf.chain).read_text().replace("\n", "\n            ")
    text = f"""listeners:
  - address: ":8443"
    tls:
      certificates:
        - key: env:KEY
          certificate: |
            {lines}
        - {{key: env:KEY, certificate: env:CERTIFICATE}}
state_folder: {tmp_path}/state
"""
    found = warnings(tmp_path, text)
    assert len(found) == 2 and all("expires in 3 days" in line for line in found), found
    assert found[1].endswith("certificate in `env:CERTIFICATE` expires in 3 days")


@pytest.mark.parametrize(
    ("options", "is_fit"), [({}, False), ({"for_client": True}, True), ({"for_both": True}, True)]
)
def test_client_certificate_that_is_not_for_clients_is_told(
    tmp_path: Path, options: dict[str, Any], is_fit: bool
) -> None:
    leaf = Authority(tmp_path / "pki").issue("gate.test", **options)
    gate = Gateway()
    gate.upstream(
        "api", "https://10.0.0.1", tls={"certificate": {"certificate": leaf.chain, "key": leaf.key}}
    )
    gate.listen(":8080")
    gate.route("/", to="api")
    found = [str(one) for one in lint(gate)]
    assert [line for line in found if "is not for clients" in line] == ([] if is_fit else found)
    assert is_fit or "public authorities issue none for clients any more" in found[0]


@pytest.mark.parametrize(
    ("listener", "challenges", "expected"),
    [
        (
            "127.0.0.1:443",
            "http-01",
            ["`a.test` has the IPv6 address `2001:db8::1`", "`gone.test`, for which"],
        ),
        (":443", "http-01", ["`gone.test`, for which"]),
        ("[::]:443", "http-01", ["`gone.test`, for which"]),
        ("127.0.0.1:443", "dns-01", []),
    ],
)
def test_names_that_lead_elsewhere_are_told_before_a_certificate_is_ordered(
    tmp_path: Path, listener: str, challenges: str, expected: list[str]
) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(
        f"listeners: {{address: '{listener}', tls: auto}}\n"
        f"acme: {{challenges: {challenges}, dns: {{provider: cloudflare}}}}\n"
        "routes: [{host: [a.test, b.test, gone.test], respond: fine}]\n"
    )

    def resolve(name: str) -> object:
        if name == "gone.test":
            raise OSError(-2, "Name or service not known")
        four = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))
        six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0))
        return [four, six] if name == "a.test" else [four]

    found = [problem.message for problem in lint(load(file), resolve)]
    assert [line[: len(part)] for line, part in zip(found, expected, strict=True)] == expected
