"""One exchange with a secret in each place where one can stand, and everything that is written of it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.kit import HEADGATE, Call, Origin, RawClient, RunningGateway, Serve, eventually, free_port
from e2e.kit.origin import PROBE_PATH

SECRETS = {
    place: f"s3cr3t-{place}" for place in ("query", "referer", "field", "cookie", "basic", "member", "form")
}
SECRETS |= {place: f"s3cr3t-{place}" for place in ("reply-member", "reply-cookie", "location", "user")}
IN_PATHS = ("s3cr3t-segment", "s3cr3t@site.example")


@pytest.fixture
def collector() -> Iterator[Origin]:
    """What takes traces and lines of the log, and keeps them as they came."""
    with Origin() as server:
        yield server


def respond(call: Call) -> None:
    call.read_body()
    fields = [
        ("Content-Type", "application/json"),
        ("Set-Cookie", f"sid={SECRETS['reply-cookie']}; Path=/"),
        ("Location", f"https://u:{SECRETS['user']}@site.example/?code={SECRETS['location']}"),
    ]
    call.respond(json.dumps({"id_token": SECRETS["reply-member"]}).encode(), fields=fields)


def ask(gateway: RunningGateway, path: str) -> str:
    """Sends each secret in its place, and gives what the client is shown of errors."""
    query = f"?token={SECRETS['query']}&%74oken={SECRETS['query']}"
    usual = [
        ("Authorization", f"Basic {SECRETS['basic']}"),
        ("X-Api-Key", SECRETS["field"]),
        ("Cookie", f"sid={SECRETS['cookie']}"),
        ("Referer", f"https://site.example/?access_token={SECRETS['referer']}"),
    ]
    bodies = {
        "application/json": json.dumps({"a": [{"password": SECRETS["member"]}]}),
        "application/x-www-form-urlencoded": f"user=u&client_secret={SECRETS['form']}",
    }
    shown = ""
    for kind, body in bodies.items():
        with RawClient(gateway.address) as client:
            shown += client.request(
                "POST", path + query, [*usual, ("Content-Type", kind)], body=body.encode()
            ).text
    return shown


def test_no_secret_is_in_anything_that_is_written(
    serve: Serve, origin: Origin, collector: Origin, tmp_path: Path
) -> None:
    origin.on("/kept", respond)
    origin.on(f"/KEPT;a/{IN_PATHS[0]}", respond)
    origin.on(f"/reset/{IN_PATHS[0]}/{IN_PATHS[1]}", respond)
    (tmp_path / "har").mkdir()
    capture = {"folder": str(tmp_path / "har"), "percent": 100, "mask_paths": ["/reset/{token}/*"]}
    file_log = {"format": "json", "to": f"file:{tmp_path}/access.log", "flush": "50ms"}
    document: dict[str, Any] = {
        "upstreams": {"app": origin.address, "dead": f"127.0.0.1:{free_port()}"},
        "routes": [
            {"path": "/*", "to": "app"},
            {"path": "/dead", "to": "dead"},
            {"path": "/pages", "to": "dead"},
        ],
        "plugins": [
            {"plugin": "har-capture", "when": f'request.path != "{PROBE_PATH}"', "config": capture},
            {
                "plugin": "error-pages",
                "on": "/pages",
                "config": {"pages": {"5xx": {"text": "{status} {message} {id}"}}},
            },
        ],
        "tracing": {"otlp": f"http://{collector.address}", "sample": 1},
        "access_log": {"mask_paths": "/kept/{token}", **file_log},
        "error_log": {"level": "debug"},
        "log_targets": [{"to": f"http://{collector.address}/lines", "flush": "50ms"}],
    }
    gateway = serve(document, workers=1)
    command = [str(HEADGATE), "logs", "--json", "--count", "10"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=gateway.environment, cwd=gateway.folder
    ) as tail:
        assert tail.stderr is not None and tail.stderr.readline().startswith(b"following ")
        pages = [ask(gateway, path) for path in ("/dead", "/pages")]
        ask(gateway, "/kept")
        ask(gateway, f"/kept/../KEPT;a/%2e/{IN_PATHS[0]}")
        ask(gateway, f"/reset/{IN_PATHS[0]}/{IN_PATHS[1]}")
        followed = tail.communicate(timeout=60)[0].decode()

    def har() -> str:
        return "".join(file.read_text() for file in (tmp_path / "har").glob("*.har"))

    def collected() -> str:
        return "".join(call.target + call.read_body().decode("latin-1") for call in collector.calls)

    eventually(lambda: har().count("startedDateTime") == 10, "all are captured", within=30)
    eventually(lambda: collected().count('"target":"/kept') >= 2, "lines have come", within=30)
    eventually(lambda: collected().count("/reset/***/***") >= 4, "traces have", within=30)
    eventually(
        lambda: (tmp_path / "access.log").read_text().count("/reset/") == 2, "lines are there", within=30
    )
    written = {
        "the access log": (tmp_path / "access.log").read_text(),
        "the log": gateway.log(),
        "what follows the log": followed,
        "a collector": collected(),
        "error pages": "".join(pages),
        "HAR files": har(),
    }
    assert all(written.values()) and "/kept" in written["a collector"] and "/kept" in followed
    secrets = [*SECRETS.values(), *IN_PATHS]
    found = {(where, secret) for where, text in written.items() for secret in secrets if secret in text}
    assert found == set()
