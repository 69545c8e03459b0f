"""Every snippet of the README and the guide is run: gateways are loaded, commands and data are checked."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("guide/*.md")),
    *sorted((ROOT / "docs").glob("concepts/*.md")),
]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
HEADGATE = Path(sys.executable).parent / "headgate"


@dataclass(frozen=True)
class Snippet:
    """One fenced block of a page."""

    page: Path
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}-{self.number}-{self.language}"


SNIPPETS = [
    Snippet(page, number, language, text)
    for page in PAGES
    for number, (language, text) in enumerate(FENCE.findall(page.read_text()), 1)
]


@pytest.fixture(autouse=True)
def secrets_of_the_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pages' `env:NAME` refer to."""
    for name in ("ADMIN_TOKEN", "DNS_KEY", "EAB_KEY", "PULL_TOKEN"):
        monkeypatch.setenv(name, "bm90LXJlYWxseS1hLWtleQ")


def of(language: str) -> Any:
    """Runs a test with each snippet of a language."""
    return pytest.mark.parametrize("snippet", [s for s in SNIPPETS if s.language == language], ids=str)


IS_TEST = re.compile(r"^def test_", re.M)
IS_WORKER = re.compile(r"^from headgate.pull import ", re.M)
IS_NO_GATEWAY = re.compile(f"{IS_TEST.pattern}|{IS_WORKER.pattern}", re.M)


@pytest.mark.parametrize(
    "snippet", [s for s in SNIPPETS if s.language == "python" and IS_WORKER.search(s.text)], ids=str
)
def test_python_makes_a_worker(snippet: Snippet) -> None:
    from headgate.pull import Worker

    made: dict[str, Any] = {}
    exec(compile(snippet.text, str(snippet), "exec"), made)
    assert [one for one in made.values() if isinstance(one, Worker) and one._handler]


@pytest.mark.parametrize(
    "snippet", [s for s in SNIPPETS if s.language == "python" and not IS_NO_GATEWAY.search(s.text)], ids=str
)
def test_python_makes_a_gateway(snippet: Snippet, tmp_path: Path) -> None:
    from headgate import _core
    from headgate.compile.loading import load
    from headgate.worker.loaded import compiled

    file = tmp_path / "gate.py"
    file.write_text(snippet.text)
    for folder in ("public", "site"):  # those that the snippets serve files from
        (tmp_path / folder).mkdir()
    certify(snippet, tmp_path)
    _core.check(compiled(load(file)).snapshot)


@pytest.mark.parametrize(
    "snippet", [s for s in SNIPPETS if s.language == "python" and IS_TEST.search(s.text)], ids=str
)
def test_tests_pass(snippet: Snippet, tmp_path: Path) -> None:
    """They may use the gateway that stands before them on their page, as `gate.py`."""
    before = [s for s in SNIPPETS if s.page == snippet.page and s.number < snippet.number]
    gates = [s for s in before if s.language == "python" and not IS_TEST.search(s.text)]
    if gates:
        (tmp_path / "gate.py").write_text(gates[-1].text)
    (tmp_path / "test_snippet.py").write_text(snippet.text)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_snippet.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout


@of("yaml")
def test_yaml_makes_a_gateway(snippet: Snippet, tmp_path: Path) -> None:
    from headgate import _core
    from headgate.compile.loading import load
    from headgate.worker.loaded import compiled

    assert isinstance(yaml.safe_load(snippet.text), dict)
    file = tmp_path / "gate.yaml"
    file.write_text(snippet.text)
    (tmp_path / "public").mkdir()
    (tmp_path / "untrusted.py").write_text((ROOT / "examples" / "plugins" / "untrusted.py").read_text())
    certify(snippet, tmp_path)
    _core.check(compiled(load(file)).snapshot)


def certify(snippet: Snippet, folder: Path) -> None:
    """The certificates that a snippet names."""
    from e2e.kit.pki import Authority

    if not (wanted := set(re.findall(r"certs/([\w.-]+)", snippet.text))):
        return
    authority = Authority(folder / "pki")
    leaf = authority.issue("example.com")
    chain, key, ca = (Path(file).read_text() for file in (leaf.chain, leaf.key, authority.ca))
    texts = {"clients-ca.pem": ca, "internal-ca.pem": ca, "revoked.crl": Path(authority.revoke()).read_text()}
    (folder / "certs" / "live").mkdir(parents=True)
    (folder / "certs" / "live" / "example.com.pem").write_text(chain + key)
    for name in wanted - {"live"}:
        (folder / "certs" / name).write_text(texts.get(name, key if name.endswith(".key") else chain + key))


def commands(text: str) -> list[list[str]]:
    """The commands of a shell snippet, without comments."""
    return [words for line in text.splitlines() if (words := shlex.split(line, comments=True))]


@of("bash")
def test_shell_names_real_commands(snippet: Snippet) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for words in commands(snippet.text):
        if words[0] == "headgate":
            known_options(words[1:])
        elif words[0] == "make":
            assert words[1] in targets
        else:
            assert words[:2] == ["pip", "install"], f"nothing checks {words}"


def known_options(words: list[str]) -> None:
    """The command takes these options."""
    path = words[: 2 if words[0] in ("config", "pgwatch", "pull") else 1]
    usage = subprocess.run(
        [HEADGATE, *path, "--help"], capture_output=True, text=True, env={"COLUMNS": "200"}
    )
    assert usage.returncode == 0, usage.stderr
    assert [word for word in words if word.startswith("-") and word not in usage.stdout] == []


@of("json")
def test_json_is_json(snippet: Snippet) -> None:
    json.loads(snippet.text)


def test_every_language_has_its_test() -> None:
    """`py` is run by `tests/e2e/test_pgwatch.py`, on a database."""
    assert {s.language for s in SNIPPETS} <= {"python", "yaml", "bash", "json", "text", "ini", "py"}
    assert {s.page.name for s in SNIPPETS if s.language == "py"} <= {"pgwatch.md"}
