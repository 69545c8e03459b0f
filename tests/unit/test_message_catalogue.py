"""What is said of wrong configurations: the file and the line, one sentence, and a hint that names what exists."""

import errno
import re
import socket
from pathlib import Path

import pytest
import typer

from headgate import _core
from headgate.cli.app import app
from headgate.compile.loading import load
from headgate.compile.unreachable import unreachable
from headgate.config.errors import ConfigError, Problem
from headgate.config.model import GatewayConfig
from headgate.supervisor.listeners import BindError, Listeners
from headgate.worker.loaded import compiled

ROOT = Path(__file__).resolve().parents[2]
ROUTE = "routes: [{to: 'a:1'}]\n"

# the document (`listeners` is added in front, as line 1), the line, and a word of the message
WRONG = {
    "tab": ("routes:\n  - path: /\n\tto: x\n", 4, "a tab cannot be used for indentation"),
    "syntax": ("routes: [\n", 3, ""),
    "duplicate key": (ROUTE + ROUTE, 3, "duplicate key `routes`"),
    "unknown key": ("ruotes: []\n", 2, "unknown key `ruotes`"),
    "unknown key below": ("routes:\n  - {pth: /, to: 'a:1'}\n", 3, "unknown key `pth`"),
    "null table": ("limits:\n" + ROUTE, 2, "`limits` must be a table, not `null`"),
    "null list": ("routes:\n", 2, "`routes` must be a list, not `null`"),
    "text for a number": ("workers: many\n" + ROUTE, 2, "a whole number, not `many`"),
    "text for a switch": ("server_timing: maybe\n" + ROUTE, 2, "`true` or `false`, not `maybe`"),
    "number for a text": ("routes: [{name: 5, to: 'a:1'}]\n", 2, "must be a text, not `5`"),
    "out of bounds": ("workers: 0\n" + ROUTE, 2, "`workers` must be at least 1, not `0`"),
    "size": ("limits: {max_body_bytes: 1x}\n" + ROUTE, 2, "`1x` is not a size"),
    "duration": ("timeouts: {connect: soon}\n" + ROUTE, 2, "`soon` is not a duration"),
    "choice": ("upstreams: {a: {servers: 'a:1', balance: best}}\n" + ROUTE, 2, "cannot be `best`"),
    "sticky without balance": (
        "upstreams:\n  a:\n    servers: 'a:1'\n    balance: p2c\n    sticky: {ttl: 1h}\n" + ROUTE,
        3,
        "`sticky` has no effect with `balance: p2c`",
    ),
    "bandwidth without a rate": (
        "routes: [{to: 'a:1', bandwidth: {per: client}}]\n",
        2,
        "`bandwidth` has no effect without a rate",
    ),
    "rate": ("routes: [{to: 'a:1', bandwidth: {down: fast}}]\n", 2, "`fast` is not a rate"),
    "slow rate": ("routes: [{to: 'a:1', bandwidth: {down: 100/s}}]\n", 2, "`100/s` is too slow for a rate"),
    "adaptive limit": (
        "upstreams: {a: {servers: 'a:1', adaptive_limit: {max: 10}}}\n" + ROUTE,
        2,
        "`initial` (20) is not between `min` (3) and `max` (10)",
    ),
    "hedges of sticky sessions": (
        "upstreams: {a: {servers: ['a:1', 'b:1'], balance: sticky, hedge: 50ms}}\n" + ROUTE,
        2,
        "`hedge` would move clients to other servers",
    ),
    "hedges to one server": (
        "upstreams: {a: {servers: '10.0.0.1:80', hedge: 50ms}}\n" + ROUTE,
        2,
        "`hedge` has no effect with one server",
    ),
    "percentile": (
        "upstreams: {a: {servers: 'a:1', hedge: p100}}\n" + ROUTE,
        2,
        "`p100` is not a percentile",
    ),
    "hedges at once": (
        "upstreams: {a: {servers: 'a:1', hedge: {after: 0}}}\n" + ROUTE,
        2,
        "`0` is not a valid delay of hedges",
    ),
    "sticky secret": (
        "upstreams: {a: {servers: 'a:1', balance: sticky, sticky: {secret: short}}}\n" + ROUTE,
        2,
        "fewer than 32 characters",
    ),
    "sticky same site": (
        "upstreams: {a: {servers: 'a:1', balance: sticky, sticky: {samesite: none, secure: false}}}\n"
        + ROUTE,
        2,
        "browsers drop cookies with `samesite: none`",
    ),
    "sticky name": (
        "upstreams: {a: {servers: 'a:1', balance: sticky, sticky: {cookie: __Host-a}}}\n" + ROUTE,
        2,
        "browsers drop a cookie `__Host-a` without",
    ),
    "weight": ("upstreams: {a: ['a:1 weight=0']}\n" + ROUTE, 2, "at least 1, not `0`"),
    "server option": ("upstreams: {a: ['a:1 wieght=2']}\n" + ROUTE, 2, "unknown server option `wieght`"),
    "source": ("upstreams: {a: {servers: 'a:1', source: '1.2'}}\n" + ROUTE, 2, "is not a valid source"),
    "missing key": ("upstreams: {a: {balance: random}}\n" + ROUTE, 2, "`servers` is missing"),
    "missing upstream": ("routes: [{to: bakend}]\n", 2, "there is no upstream `bakend`"),
    "address": ("routes: [{to: 'ftp://a'}]\n", 2, "ftp"),
    "two actions": ("routes: [{to: 'a:1', respond: x}]\n", 2, "both `to` and `respond`"),
    "no action": ("routes: [{path: /x}]\n", 2, "does nothing"),
    "duplicate name": (
        "routes:\n  - {name: a, to: 'a:1'}\n  - {name: a, to: 'a:1'}\n",
        4,
        "duplicate route name",
    ),
    "duplicate address": ("tcp: [{address: ':8080', to: 'a:1'}]\n" + ROUTE, 2, "duplicate address"),
    "host": ("routes: [{host: 'a b', to: 'a:1'}]\n", 2, "is not a valid host"),
    "method": ("routes: [{methods: 'a b', to: 'a:1'}]\n", 2, "is not a valid method"),
    "header": ("routes: [{headers: {'x y': '1'}, to: 'a:1'}]\n", 2, "is not a valid header field name"),
    "header regex": ("routes: [{headers: {x: '~['}, to: 'a:1'}]\n", 2, "unclosed character class"),
    "query in a path": ("routes: [{path: '/x?y', to: 'a:1'}]\n", 2, "a query or a fragment"),
    "percent in a path": ("routes: [{path: '/x%zz', to: 'a:1'}]\n", 2, "two hexadecimal digits"),
    "two parameters": ("routes: [{path: '/{a}{b}', to: 'a:1'}]\n", 2, "more than one parameter"),
    "regex of the engine": ("routes: [{path: '~^(?>a)', to: 'a:1'}]\n", 2, "unrecognized flag"),
    "location": ("routes: [{path: '/{id}', redirect: '/{di}'}]\n", 2, "names `{di}`"),
    "location of a regex": ("routes: [{path: '~^/(?<id>x)', redirect: '/{di}'}]\n", 2, "names `{di}`"),
    "folder": ("routes: [{path: '/*', files: nowhere}]\n", 2, "nowhere"),
    "index": ("routes: [{path: '/*', files: {root: ., index: a/b}}]\n", 2, "is not a valid index file name"),
    "log field": ("access_log: '{clnt}'\n" + ROUTE, 2, "no field `clnt`"),
    "log destination": ("access_log: {to: nowhere}\n" + ROUTE, 2, "is not a valid log destination"),
    "log target": ("log_targets: nowhere\n" + ROUTE, 2, "is not a valid log target"),
    "log target below": (
        "log_targets:\n  - to: tcp://a:1\n    queue: 0\n" + ROUTE,
        4,
        "queue` must be at least 1",
    ),
    "identity": ("forwarding: {identity_fields: [host]}\n" + ROUTE, 2, "`host` cannot be removed"),
    "identity of the framing": (
        "forwarding: {identity_fields: [Content_Length]}\n" + ROUTE,
        2,
        "`Content_Length` cannot be removed",
    ),
    "certificate field": (
        "forwarding: {client_certificate: {content-length: subject}}\n" + ROUTE,
        2,
        "`content-length` cannot be set",
    ),
    "certificate host": (
        "forwarding: {client_certificate: {Host: subject}}\n" + ROUTE,
        2,
        "`Host` has a meaning of its own",
    ),
    "request id field": ("request_id_header: content-length\n" + ROUTE, 2, "cannot be set"),
    "request id name": ("request_id_header: 'x id'\n" + ROUTE, 2, "is not a valid header field name"),
    "health field": (
        "upstreams: {a: {servers: 'a:1', health: {path: /, headers: {Transfer-Encoding: chunked}}}}\n"
        + ROUTE,
        2,
        "`Transfer-Encoding` cannot be set",
    ),
    "large head": ("limits: {max_head_bytes: 1m}\n" + ROUTE, 2, "`1048576` is too large"),
    "module": ("routes: [{to: 'a:1', when: 'nowhere:f'}]\n", 2, "there is no module `nowhere`"),
    "function": ("routes: [{to: 'a:1', when: 'json:lods'}]\n", 2, "has no `lods`"),
    "plugin": ("plugins: ['json:loads']\n" + ROUTE, 2, "is not a plugin"),
    "plugin on": (
        "plugins: [{plugin: 'parts:Nothing', on: nobody}]\n" + ROUTE,
        2,
        "there is no route, upstream or listener",
    ),
    "certificate file": ("tcp: []\ntls: {require_fips: true, x: 1}\n" + ROUTE, 3, "unknown key `x`"),
}


def refused(folder: Path, text: str, listeners: str = "listeners: ':8080'\n") -> tuple[Problem, ...]:
    """What is said of a document by everything that `headgate check` does."""
    (folder / "parts.py").write_text("import headgate\n\nclass Nothing(headgate.Plugin):\n    pass\n")
    (folder / "gate.yaml").write_text(listeners + text)
    with pytest.raises(ConfigError) as error:
        loaded = compiled(load(folder / "gate.yaml"))
        try:
            _core.check(loaded.snapshot)
        except ValueError as engine:
            raise loaded.refused(str(engine)) from engine
    return error.value.problems


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_configuration_is_told_with_its_line_in_one_sentence(name: str, tmp_path: Path) -> None:
    text, line, words = WRONG[name]
    (problem,) = refused(tmp_path, text)
    assert problem.where is not None and problem.where.file == str(tmp_path / "gate.yaml")
    assert problem.where.line == line, problem
    assert words in problem.message
    assert "\n" not in problem.message and ". " not in problem.message.replace("e.g. ", "")
    assert problem.message[:1] == problem.message[:1].lower()
    _check_hint(problem)


@pytest.mark.parametrize("certificate", ["nowhere.pem", "empty.pem"])
def test_a_certificate_that_cannot_be_used_is_told_with_its_line(certificate: str, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("\ufeff")
    (problem,) = refused(tmp_path, ROUTE, f"listeners:\n  - address: ':8443'\n    tls: {certificate}\n")
    assert problem.where is not None and problem.where.line == 3
    assert certificate in problem.message
    _check_hint(problem)


def test_a_folder_in_place_of_a_file_is_called_a_folder(tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text(ROUTE)
    with pytest.raises(ConfigError, match="is a directory") as error:
        load(tmp_path)
    assert error.value.hint == f"write `{tmp_path}/gate.yaml`"


def test_routes_that_no_request_reaches_are_named_with_those_that_take_it(tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text(
        "routes:\n"
        "  - {path: /a, to: 'a:1'}\n"
        "  - {path: /a, to: 'b:1', methods: GET}\n"
        "  - {path: /b, to: 'a:1', methods: [GET, POST]}\n"
        "  - {path: /b, to: 'b:1', methods: POST}\n"
        "  - {path: /b, to: 'b:1'}\n"
        "  - {path: /c, to: 'a:1'}\n"
        "  - {path: /c, to: 'b:1', priority: 1}\n"
        "  - {path: /c, to: 'b:1', headers: {x: '1'}}\n"
    )
    found = list(unreachable(load(tmp_path / "gate.yaml")._parts.routes))
    assert sorted(problem.where.line or 0 for problem in found if problem.where) == [3, 5, 7]


@pytest.mark.parametrize(
    ("wide", "other", "is_told"),
    [
        ("{path: /, priority: 1, to: 'a:1'}", "{path: /api/*, to: 'b:1'}", True),
        ("{path: /api/*, priority: 1, to: 'a:1'}", "{path: =/api/x, to: 'b:1'}", True),
        ("{path: /api/*, priority: 1, to: 'a:1'}", "{path: '/api/{id}', methods: GET, to: 'b:1'}", True),
        (
            "{path: /, host: [a.test, b.test], priority: 1, to: 'a:1'}",
            "{host: b.test, path: /x, to: 'b:1'}",
            True,
        ),
        ("{path: '/u/{id}', to: 'a:1'}", "{path: '/u/{name}', to: 'b:1'}", True),
        ("{path: /x, to: 'a:1'}", "{path: =/x, to: 'b:1'}", True),
        ("{path: /*, to: 'a:1'}", "{path: /, to: 'b:1'}", True),
        ("{path: '/u/{id}', to: 'a:1'}", "{path: '/u/{rest:path}', to: 'b:1'}", False),
        ("{path: /, to: 'a:1'}", "{path: /api/*, to: 'b:1'}", False),
        ("{path: /, priority: 1, methods: GET, to: 'a:1'}", "{path: /api/*, to: 'b:1'}", False),
        ("{path: /, priority: 1, host: a.test, to: 'a:1'}", "{path: /api/*, to: 'b:1'}", False),
        ("{path: /, priority: 1, headers: {x: '1'}, to: 'a:1'}", "{path: /api/*, to: 'b:1'}", False),
        ("{path: /, priority: 1, when: 'parts:yes', to: 'a:1'}", "{path: /api/*, to: 'b:1'}", False),
        ("{path: /api/*, priority: 1, to: 'a:1'}", "{path: /apis/*, to: 'b:1'}", False),
    ],
)
def test_a_route_below_a_wider_one_is_named(wide: str, other: str, is_told: bool, tmp_path: Path) -> None:
    (tmp_path / "parts.py").write_text("def yes(request):\n    return True\n")
    (tmp_path / "gate.yaml").write_text(f"routes:\n  - {wide}\n  - {other}\n")
    found = list(unreachable(load(tmp_path / "gate.yaml")._parts.routes))
    assert [problem.where.line for problem in found if problem.where] == ([3] if is_told else [])


def _check_hint(problem: Problem) -> None:
    """The hint is one sentence; keys, commands and pages in it exist."""
    assert problem.hint and "\n" not in problem.hint, problem
    for named in re.findall(r"`([^`]*)`", problem.hint):
        if (
            re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", named)
            and named.partition(".")[0] in GatewayConfig.model_fields
        ):
            assert _is_key(named), f"there is no key `{named}`"
        if named.startswith("headgate "):
            assert named.split()[1] in _commands(), f"there is no command `{named}`"
    for page in re.findall(r"docs/[a-z/-]+\.md", problem.hint):
        assert (ROOT / page).is_file()


def _is_key(dotted: str) -> bool:
    model: object = GatewayConfig
    for part in dotted.split("."):
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return False
        model = fields[part].annotation
    return True


def _commands() -> set[str]:
    command = typer.main.get_command(app)
    return set(getattr(command, "commands", {}))


def test_the_engines_words_lead_to_the_line(tmp_path: Path) -> None:
    (tmp_path / "gate.yaml").write_text(
        "listeners:\n  - {address: ':8443', name: shop}\n  - ':8080'\nroutes:\n  - {path: /a, to: 'a:1'}\n"
        "  - {path: /b, to: 'a:1'}\naccess_log: '{client}'\n"
    )
    explained = compiled(load(tmp_path / "gate.yaml")).refused
    for text, line, told in (
        ("route `/b`: `/b` is not valid: no\nhint: yes", 6, "route `/b`: `/b` is not valid: no"),
        ("listener `shop`: listener `shop`: no; hint: yes", 2, "listener `shop`: no"),
        ("access_log.format: no field; hint: yes", 7, "access_log.format: no field"),
        ("route `/a`: regex parse error:\n  x\n  ^\nerror: odd\nhint: yes", 5, "route `/a`: odd"),
        ("something else\nhint: yes", None, "something else"),
    ):
        error = explained(text)
        assert (error.line, error.message, error.hint) == (line, told, "yes")


# what is listened on (`{folder}` is a folder of the test), what the system says, and a word of the hint
UNBINDABLE = {
    "missing folder": (
        "unix:{folder}/missing/x.sock",
        "the directory `{folder}/missing` does not exist",
        "mkdir -p",
    ),
    "file in the way": (
        "unix:{folder}/file",
        "a file that is not a socket exists at this path",
        "remove `{folder}/file`",
    ),
    "file as a folder": (
        "unix:{folder}/file/x.sock",
        "the directory `{folder}/file` does not exist",
        "mkdir -p",
    ),
    "socket in use": ("unix:{folder}/used.sock", "address already in use", "`ss -xlp`"),
    "port in use": ("{used}", "address already in use", "`ss -tlnp`"),
    "port for datagrams in use": ("udp:{datagrams}", "address already in use", "`ss -ulnp`"),
    "foreign address": ("192.0.2.1:0", "cannot assign requested address", "`ip address`"),
    "unknown host": ("nowhere.invalid:80", "the host name does not resolve", "`:PORT`"),
}


@pytest.mark.parametrize("name", UNBINDABLE)
def test_an_address_that_cannot_be_listened_on_is_told_with_its_line(name: str, tmp_path: Path) -> None:
    text, told, hint = UNBINDABLE[name]
    (tmp_path / "file").write_text("")
    with (
        socket.socket(socket.AF_UNIX) as used,
        socket.create_server(("127.0.0.1", 0)) as port,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        used.bind(str(tmp_path / "used.sock"))
        used.listen()
        datagrams.bind(("127.0.0.1", 0))
        names = {
            "folder": str(tmp_path),
            "used": f"127.0.0.1:{port.getsockname()[1]}",
            "datagrams": f"127.0.0.1:{datagrams.getsockname()[1]}",
        }
        address = text.format_map(names)
        with pytest.raises(BindError) as error:
            Listeners().open([address], places={address: "gate.py:3"})
    message, _, rest = str(error.value).partition("\n  hint: ")
    assert message == f"gate.py:3: cannot listen on `{address}`: {told.format_map(names)}"
    assert hint.format_map(names) in rest


def test_a_privileged_port_is_told_with_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("headgate.supervisor.listeners.bind_tcp", lambda *_, **__: refuse())
    monkeypatch.setattr("headgate.supervisor.listeners.bind_unix", refuse)
    for address, hint in (
        (":80", "CAP_NET_BIND_SERVICE"),
        ("unix:/x/y.sock", "the folder `/x` must be writable"),
    ):
        with pytest.raises(BindError, match="permission denied") as error:
            Listeners().open([address])
        assert hint in str(error.value)


@pytest.mark.parametrize("kind", ["listeners", "tcp", "udp"])
@pytest.mark.parametrize("suffix", ["py", "yaml"])
def test_lines_of_listeners_are_known_to_who_binds_them(kind: str, suffix: str, tmp_path: Path) -> None:
    call = {"listeners": "listen", "tcp": "listen_tcp", "udp": "listen_udp"}[kind]
    to = "" if kind == "listeners" else ", to='a:1'"
    file = tmp_path / f"gate.{suffix}"
    file.write_text(
        f"from headgate import Gateway\ngate = Gateway()\ngate.{call}(':8080'{to})\ngate.route('/', to='a:1')\n"
        if suffix == "py"
        else f"routes:\n  - {{to: 'a:1'}}\n{kind}: [{{address: ':8080'{to.replace('=', ': ')}}}]\n"
    )
    address = "udp::8080" if kind == "udp" else ":8080"
    assert compiled(load(file)).places == {address: f"{file}:3"}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("limits: {max_body_bytes: 1000000000000000000000000000000}\n", "is not a size", "write bytes"),
        ("limits: {max_body_bytes: '99999999999999g'}\n", "is not a size", "write bytes"),
        ("limits: {max_connections: 5000000000}\n", "must be at most 4294967295", "write at most"),
        (
            "upstreams: {u: {servers: 'a:1 max_fails=5000000000'}}\n",
            "must be at most 4294967295",
            "write at most",
        ),
        ("routes: [{path: /, respond: {status: 204, body: x}}]\n", "status 204 has no body", "remove `body`"),
        ("routes: [{path: /, respond: x, host: 'a.b:80'}]\n", "has a port", "write `a.b`"),
        ("routes: [{path: /, to: ['a:1', 'b:1']}]\n", "must be a text", "below `upstreams`"),
    ],
)
def test_values_without_effect_and_beyond_the_engines_numbers_are_told_with_their_line(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    """They came back as a bad snapshot, without a line, or were taken and did nothing."""
    (tmp_path / "gate.yaml").write_text(text if text.startswith("routes") else ROUTE + text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "gate.yaml")
    (problem,) = caught.value.problems
    assert message in problem.message and hint in (problem.hint or "")
    assert problem.where is not None and problem.where.line is not None
