"""Every example loads, is listed here by being found, and its snapshot is accepted by the engine."""

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
