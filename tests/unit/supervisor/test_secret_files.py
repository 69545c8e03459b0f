"""The watch of files with secrets: what counts as a change, and when."""

import os
from pathlib import Path

import pytest

from headgate.control.resource_messages import SecretFiles
from headgate.supervisor import secret_files
from headgate.supervisor.secret_files import SecretFileWatch, stamp


class Steps:
    """Calls what it was given when the test says."""

    def __init__(self) -> None:
        self.waiting: list[object] = []

    def call_later(self, delay_s: float, callback: object) -> None:
        self.waiting.append(callback)

    def step(self) -> None:
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()  # type: ignore[operator]


@pytest.fixture
def watched(tmp_path: Path) -> tuple[Path, Steps, list[str], SecretFileWatch]:
    file, steps, changes = tmp_path / "secret", Steps(), list[str]()
    file.write_text("a")
    watch = SecretFileWatch(steps, lambda: changes.append("changed"))  # type: ignore[arg-type]
    watch.told("workers", told(file))
    return file, steps, changes, watch


def told(*files: Path) -> SecretFiles:
    return SecretFiles(files=[found for file in files if (found := stamp(str(file)))])


def test_a_change_counts_once_it_has_settled(watched: tuple[Path, Steps, list[str], SecretFileWatch]) -> None:
    file, steps, changes, _ = watched
    seen = []
    for text in ("a", "", "b", "b", "b"):
        if text != file.read_text():
            file.write_text(text)
            os.utime(file, ns=(0, len(seen)))
        steps.step()
        seen.append(len(changes))
    assert seen == [0, 0, 0, 1, 1]


def test_a_file_behind_a_link_that_moves_counts(tmp_path: Path) -> None:
    steps, changes = Steps(), list[str]()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text(name)
    (tmp_path / "data").symlink_to("one")
    watch = SecretFileWatch(steps, lambda: changes.append("changed"))  # type: ignore[arg-type]
    watch.told("agent", told(tmp_path / "data" / "secret"))
    steps.step()
    (tmp_path / "staged").symlink_to("two")
    (tmp_path / "staged").replace(tmp_path / "data")
    steps.step()
    steps.step()
    assert changes == ["changed"]


def test_one_that_is_gone_is_waited_for(
    watched: tuple[Path, Steps, list[str], SecretFileWatch], caplog: pytest.LogCaptureFixture
) -> None:
    file, steps, changes, watch = watched
    file.unlink()
    for _ in range(3):
        steps.step()
    assert changes == [] and caplog.text.count("a secret file is gone") == 1
    file.write_text("bb")
    steps.step()
    steps.step()
    assert changes == ["changed"]
    watch.told("workers", SecretFiles(files=[]))
    steps.step()
    assert steps.waiting == [], "nothing is looked at any more"
    assert secret_files.STEP_S > 0


def test_it_counts_until_all_have_read_it(watched: tuple[Path, Steps, list[str], SecretFileWatch]) -> None:
    file, steps, changes, watch = watched
    file.write_text("bb")
    watch.told("agent", told(file))  # a new agent has read it, and the workers not yet
    steps.step()
    steps.step()
    assert changes == ["changed"]
    watch.told("workers", told(file))
    for _ in range(3):
        steps.step()
    assert changes == ["changed"]
