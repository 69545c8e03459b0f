"""Every example loads, is listed here by being found, and its snapshot is accepted by the engine."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from e2e.kit.pki import Authority

from headgate import _core
from headgate.compile.loading import load
from headgate.compile.order import compile_gateway

EXAMPLES = sorted(
    file
    for file in (Path(__file__).parents[2] / "examples").iterdir()
    if file.suffix in (".py", ".yaml", ".toml", ".json")
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What examples with TLS find in their folder."""
    folder = tmp_path_factory.mktemp("certs")
    authority = Authority(folder / "authority")
    leaf = authority.issue("example.com")
    (folder / "live").mkdir()
    (folder / "live" / "example.com.pem").write_text(
        Path(leaf.chain).read_text() + Path(leaf.key).read_text()
    )
    (folder / "clients-ca.pem").write_text(Path(authority.ca).read_text())
    return folder


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_loads_and_the_engine_accepts_it(
    file: Path, tmp_path: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CERTS", str(certificates))
    monkeypatch.setenv("HEADGATE_DATA_DIR", str(tmp_path))
    compiled = compile_gateway(load(file))
    assert compiled.listeners
    _core.check(compiled.snapshot)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_steps_that_make_certificates_make_what_the_example_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (EXAMPLES[0].parent / "tls_client_certificates.py").read_text()
    steps = re.findall(r"^    (.*)$", text.partition('"""')[2].partition('"""')[0], re.M)
    assert len(steps) == 6
    subprocess.run(["sh", "-ec", "\n".join(steps)], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.delenv("CERTS", raising=False)
    (tmp_path / "gate.py").write_text(text)
    _core.check(compile_gateway(load(tmp_path / "gate.py")).snapshot)
