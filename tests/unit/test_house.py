"""The pages about the house say what is there."""

import re
import subprocess
from pathlib import Path

import pytest

from headgate.config.background import BackgroundConfig
from headgate.config.limits import LimitsConfig, TimeoutsConfig

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    p for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changes/*.md")] if p.is_file()
]


def test_named_tests_exist() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text().partition("## Invariants")[2]
    for page in ("http3-clauses.md", "watching.md", "servers.md", "control.md"):
        table += (ROOT / "docs" / "concepts" / page).read_text().replace("`test_", "`tests/e2e/test_")
    pitfalls = (ROOT / "docs" / "concepts" / "plugin-pitfalls.md").read_text()
    table += pitfalls.replace("`test_", "`tests/unit/plugins/test_")
    missing, folder = [], Path()
    for name in re.findall(r"`([\w/.]+\.(?:py|rs)(?:::\w+)?)", table):
        file, _, function = name.partition("::")
        path = ROOT / file if "/" in file else folder / file
        folder = path.parent
        if not path.exists() or (function and f" {function}(" not in path.read_text()):
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_make_help_names_every_target_of_the_readme() -> None:
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = set(re.findall(r"`make ([a-z]+)", (ROOT / "README.md").read_text()))
    assert wanted <= set(re.findall(r"make ([a-z-]+)", text))


def test_guide_tells_of_every_limit() -> None:
    guide = (ROOT / "docs" / "guide" / "limits.md").read_text()
    models = (LimitsConfig, TimeoutsConfig, BackgroundConfig)
    names = [name for model in models for name in model.model_fields]
    assert [name for name in names if not re.search(rf"\b{name}\b", guide)] == []
