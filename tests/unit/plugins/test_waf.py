"""waf: real rules of the OWASP Core Rule Set in the real engine; skipped only where Debian's packages are missing."""

import ctypes
import gzip
import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from headgate import ConfigError, Gateway
from headgate.plugins import Waf, _modsecurity, _waf_engine
from headgate.plugins._modsecurity import LIBRARY
from headgate.plugins.waf import RULES
from headgate.testing import TestGateway

SERVER = "server.test:80"
AGENT = {"user-agent": "Mozilla/5.0", "accept": "*/*"}
SQL, SCRIPT, SHELL = (
    "1' OR '1'='1' UNION SELECT password FROM users--",
    "<script>alert(1)</script>",
    ";cat /etc/passwd",
)


def is_installed() -> bool:
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return Path(RULES).parent.is_dir()


needs_rules = pytest.mark.skipif(
    not is_installed(), reason="needs libmodsecurity3 and modsecurity-crs; hint: `make services`"
)


@pytest.fixture(scope="module")
def crs() -> Any:
    """A gateway with the Core Rule Set, whose rules take a second to load."""
    gate = Gateway()
    gate.route("/", to=SERVER)
    plugin = Waf()
    gate.use(plugin)
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        yield gateway


def running(rules: str, tmp_path: Path, **settings: Any) -> tuple[TestGateway, Waf]:
    file = tmp_path / "rules.conf"
    file.write_text(rules)
    gate = Gateway()
    gate.route("/", to=SERVER)
    plugin = Waf(rules=[str(file)], **settings)
    gate.use(plugin)
    return TestGateway(gate, upstreams={SERVER: "ok"}), plugin


@needs_rules
@pytest.mark.parametrize(
    ("target", "fields", "body"),
    [
        (f"/?q={quote(SQL)}", {}, None),
        (f"/?q={quote(SCRIPT)}", {}, None),
        (f"/?q={quote(SHELL)}", {}, None),
        ("/?file=../../../../etc/passwd", {}, None),
        ("/?x=${jndi:ldap://evil.example/a}", {}, None),
        ("/", {"user-agent": "() { :; }; echo; /bin/cat /etc/passwd"}, None),
        ("/", {"cookie": f"a={quote(SCRIPT)}"}, None),
        ("/", {"content-type": "application/x-www-form-urlencoded"}, f"q={quote(SQL)}"),
        ("/", {"content-type": "application/json"}, json.dumps({"a": [{"b": SQL}]})),
        ("/", {"content-type": "Application/JSON ; Charset=UTF-8"}, json.dumps({"a": SCRIPT})),
        ("/", {"content-type": "application/problem+json"}, json.dumps({"a": SCRIPT})),
        ("/", {"content-type": "application/xml"}, f"<a><b>{SQL}</b></a>"),
        ("/", {"content-type": "text/plain"}, SCRIPT),
        ("/", {"content-type": "application/octet-stream"}, f"q={SQL}"),
        ("/", {}, f"q={SQL}"),
        (
            "/",
            {"content-type": "multipart/form-data; boundary=x"},
            f'--x\r\nContent-Disposition: form-data; name="q"\r\n\r\n{SQL}\r\n--x--\r\n',
        ),
    ],
)
def test_the_core_rule_set_refuses_attacks_wherever_they_stand(
    crs: TestGateway, target: str, fields: dict[str, str], body: str | None
) -> None:
    before = len(crs.received)
    response = crs.request("POST" if body else "GET", target, {**AGENT, **fields}, body=body)
    assert (response.status, response.text) == (403, "this request is not allowed\n")
    assert len(crs.received) == before


@needs_rules
@pytest.mark.parametrize(
    ("target", "fields", "body"),
    [
        ("/", {}, None),
        ("/search?q=shoes+size+42&sort=price", {}, None),
        ("/", {"cookie": "session=0123456789abcdef"}, None),
        ("/", {"content-type": "application/json"}, '{"name": "Ann", "age": 7}'),
        ("/", {"content-type": "application/x-www-form-urlencoded"}, "name=Ann&text=hello+world"),
        ("/", {"content-type": "application/xml"}, "<a><b>hello</b></a>"),
    ],
)
def test_ordinary_requests_pass_and_go_on_as_they_came(
    crs: TestGateway, target: str, fields: dict[str, str], body: str | None
) -> None:
    response = crs.request("POST" if body else "GET", target, {**AGENT, **fields}, body=body)
    assert response.status == 200
    assert crs.received[-1].body == (body or "").encode() and crs.received[-1].target == target


@needs_rules
def test_a_coded_body_is_judged_without_its_coding(crs: TestGateway) -> None:
    fields = {**AGENT, "content-type": "application/json", "content-encoding": "gzip"}
    bad, good = (gzip.compress(json.dumps({"a": text}).encode()) for text in (SQL, "hello"))
    assert crs.post("/", bad, fields).status == 403
    bomb = gzip.compress(b"0" * 10_000_000)
    assert crs.post("/", bomb, fields).status == 413
    assert crs.post("/", b"not gzip", fields).status == 415
    # the rules do not like the field itself; what counts is that the engine is not told of it
    assert crs.post("/", good, fields).status == 200 and crs.received[-1].body == good


@needs_rules
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json; charset=utf-8; charset=utf-7", "{}"),
        ("application/json; charset=ibm037", "{}"),
        ("application/json; charset=utf-7", "{}"),
        ("application/json", "{"),
        ("application/json", "[" * 100_000),
        ("application/xml", "<a"),
        ("multipart/form-data; boundary=a; boundary=b", "--a--"),
        ("multipart/form-data", "x"),
    ],
)
def test_bodies_that_could_be_read_in_two_ways_are_refused(crs: TestGateway, kind: str, body: str) -> None:
    before = len(crs.received)
    assert crs.post("/", body, {**AGENT, "content-type": kind}).status in (400, 403, 415)
    assert len(crs.received) == before


@needs_rules
def test_hostile_heads_harm_nothing(crs: TestGateway) -> None:
    many = [*AGENT.items(), *((f"x-{n}", "<" * 200) for n in range(80))]
    assert crs.get("/?" + "&".join(f"a{n}={'%' * 3}" for n in range(500)), many).status in (200, 400, 403)
    assert crs.get("/", {**AGENT, "x-a": "\u00ff" * 500, "cookie": ";" * 4000}).status in (200, 403)
    assert crs.get("/", AGENT).status == 200


@needs_rules
def test_rules_of_ones_own_and_what_they_say_is_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = """
SecRule ARGS:a "@streq deny" "id:1001,phase:1,log,deny,status:451,msg:'a secret %{MATCHED_VAR}'"
SecRule ARGS:a "@streq away" "id:1002,phase:1,log,redirect:https://example.com/%{ARGS.to}"
SecRule REQUEST_BODY|ARGS "@contains worm" "id:1003,phase:2,log,deny,status:403"
SecRule REMOTE_ADDR "@ipMatch 192.0.2.0/24" "id:1004,phase:1,log,deny,status:403"
SecRule REQUEST_HEADERS:Host "@streq evil.example" "id:1005,phase:1,log,deny,status:404"
SecRule ARGS:a "@streq drop" "id:1006,phase:1,log,drop"
"""
    gateway, plugin = running(rules, tmp_path, directives="SecRuleRemoveById 1003")
    with gateway:
        assert gateway.get("/?a=deny").status == 451
        moved = gateway.get("/?a=away&to=%0d%0ax:y")
        assert moved.status == 302 and moved.headers["location"].startswith("https://example.com/")
        assert "x" not in moved.headers
        assert gateway.get("/?a=fine").status == 200
        assert gateway.post("/", "worm").status == 200
        assert gateway.get("/", address="192.0.2.7").status == 403
        assert gateway.get("/", address="::ffff:192.0.2.7").status == 403
        assert gateway.get("/", {"host": "evil.example"}).status == 404
        assert gateway.get("/?a=drop").status == 403
        assert plugin._denied.value == 6
    told = [vars(one)["rules"] for one in caplog.records if one.message == "denied by a rule"]
    assert told == ["1001", "1002", "1004", "1004", "1005", "1006"]


SLOW = {"a": "<" * 50_000}, {"a": "${" * 20_000}, {"a": "{{" * 20_000}


@needs_rules
@pytest.mark.parametrize("body", SLOW)
def test_patterns_that_take_for_ever_are_cut_short_and_their_client_is_refused(
    body: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gateway()
    gate.route("/", to=SERVER)
    plugin = Waf(seconds=0.2)
    gate.use(plugin)
    json_type = {**AGENT, "content-type": "application/json"}
    with TestGateway(gate, upstreams={SERVER: "ok"}) as gateway:
        pending = [gateway.start("GET", "/", AGENT, address="192.0.2.2") for _ in range(3)]
        slow = gateway.start("POST", "/", json_type, body=json.dumps(body), address="192.0.2.1")
        pending += [gateway.start("GET", "/", AGENT, address="192.0.2.2") for _ in range(3)]
        assert slow.result().status == 403
        assert [one.result().status for one in pending] == [200] * 6
        assert gateway.get("/", AGENT, address="192.0.2.1").status == 403
        assert gateway.get("/", AGENT, address="192.0.2.2").status == 200
        assert plugin._late.value == 1
    assert sum(one.message == "took too long to judge" for one in caplog.records) == 1


@needs_rules
def test_an_engine_that_is_killed_is_started_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gateway, plugin = running('SecRule ARGS:a "@streq b" "id:1,phase:1,deny"', tmp_path)
    with gateway:
        assert gateway.get("/?a=b").status == 403
        plugin._judges._process.kill()
        plugin._judges._process.wait()
        children = Path(f"/proc/{plugin._judges._process.pid}")
        assert not children.exists()
        statuses = {gateway.get("/?a=b").status for _ in range(3)}
        gateway.until(lambda: gateway.get("/?a=b").status == 403)
        assert statuses <= {403, 503} and gateway.get("/").status == 200


@needs_rules
def test_a_judge_that_crashes_is_replaced(tmp_path: Path) -> None:
    gateway, plugin = running('SecRule ARGS:a "@streq b" "id:1,phase:1,deny"', tmp_path)
    with gateway:
        assert gateway.get("/").status == 200
        engine = plugin._judges._process.pid
        (judge,) = Path(f"/proc/{engine}/task/{engine}/children").read_text().split()
        os.kill(int(judge), signal.SIGSEGV)
        assert [gateway.get("/?a=b").status, gateway.get("/").status] == [403, 200]
        assert plugin._judges._process.poll() is None


def has_asked(plugin: Waf, number: int) -> bool:
    return plugin._judges._number >= number


@needs_rules
def test_a_client_that_leaves_disturbs_nobody_elses_verdict(tmp_path: Path) -> None:
    gateway, plugin = running('SecRule ARGS:a "@streq b" "id:1,phase:1,deny"', tmp_path)
    with gateway:
        for _ in range(20):
            asked = plugin._judges._number + 1
            left = gateway.start("GET", "/?a=b")
            gateway.until(partial(has_asked, plugin, asked))
            left.leave()
            assert [gateway.get(one).status for one in ("/?a=c", "/?a=b", "/")] == [200, 403, 200]


@needs_rules
def test_only_so_many_wait_for_the_engine(tmp_path: Path) -> None:
    gateway, plugin = running('SecRule ARGS:a "@streq b" "id:1,phase:1,deny"', tmp_path, max_waiting=1)
    with gateway:
        plugin._waiting = 1
        assert gateway.get("/").status == 503
        plugin._waiting = 0
        assert gateway.get("/").status == 200 and plugin._waiting == 0


@needs_rules
@pytest.mark.parametrize("rules", ["SecNonsense On", "SecRule"])
def test_rules_that_are_not_valid_are_refused_with_the_reason(rules: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the rules of .*rules.conf` are not valid: .+") as refused:
        running(rules, tmp_path)
    assert "hint" in str(refused.value)
    (tmp_path / "fine").write_text("")
    with pytest.raises(ConfigError, match="`directives` are not valid"):
        Gateway().use(Waf(rules=[str(tmp_path / "fine")], directives=rules))


def test_files_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match="the file `/nowhere"):
        Waf(rules=["/nowhere/*.conf"])
    with pytest.raises(ConfigError, match="paranoia"):
        Waf(rules=[__file__], paranoia=5)


def test_without_the_library_the_hint_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # the program that is started instead of the engine finds no library
    program = tmp_path / "engine.py"
    text = Path(_waf_engine.__file__).read_text()
    program.write_text(text)
    rules = Path(_modsecurity.__file__).read_text().replace("libmodsecurity.so.3", "libnone.so.9")
    (tmp_path / "_modsecurity.py").write_text(rules)
    monkeypatch.setattr("headgate.plugins._waf_judges.PROGRAM", program)
    with pytest.raises(ConfigError, match="is not installed") as refused:
        Gateway().use(Waf(rules=[__file__]))
    assert "apt-get install libmodsecurity3" in str(refused.value)
