"""The state folder of a node, also as seen by a user who may not write to it."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.agent.state import FolderTaken, StateFolder
from headgate.stores import Revision, Snapshot

NOBODY = 65534


@pytest.fixture
def path() -> Iterator[Path]:
    """A folder that others may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="headgate-state-") as name:
        Path(name).chmod(0o755)
        made = Path(name) / "state"
        made.mkdir(mode=0o755)
        yield made


@contextlib.contextmanager
def without_rights(path: Path, mode: int) -> Iterator[None]:
    """Somebody who may not write to a folder: another user, where the tests run as root."""
    path.chmod(mode)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        path.chmod(0o755)


@pytest.mark.parametrize("is_lock_there", [True, False])
def test_a_folder_of_somebody_else_is_held_and_read_but_not_renewed(
    path: Path, caplog: pytest.LogCaptureFixture, is_lock_there: bool
) -> None:
    known = Snapshot(Revision("e", 3, "m"))
    StateFolder(str(path)).save(known)
    (path / "last-good.json").chmod(0o444)
    if is_lock_there:
        (path / "agent.lock").write_text("1234\n")
        (path / "agent.lock").chmod(0o444)
    with without_rights(path, 0o555):
        folder = StateFolder(str(path))
        folder.take()
        assert "cannot be written to: Permission denied" in caplog.text
        assert folder.last_good() == known
        with pytest.raises(FolderTaken, match="is held by another agent"):
            StateFolder(str(path)).take()
        folder.save(Snapshot(Revision("e", 4, "n")))
        assert "cannot keep the last good configuration" in caplog.text
        assert folder.last_good() == known


def test_a_folder_that_cannot_be_entered_is_an_error_with_its_path(path: Path) -> None:
    with without_rights(path, 0o000), pytest.raises(PermissionError) as refused:
        StateFolder(str(path)).take()
    assert refused.value.filename == str(path / "agent.lock")
