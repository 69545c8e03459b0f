"""A file system of one megabyte that a test can fill, or make read-only."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path


class SmallDisk:
    """See the module; mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Leaves no room for anything."""
        with contextlib.suppress(OSError), (self.path / "filling").open("wb", buffering=0) as filling:
            while True:
                filling.write(b"\0" * 4096)

    def free(self) -> None:
        """Makes room again."""
        (self.path / "filling").unlink()

    def make_read_only(self, is_read_only: bool = True) -> None:
        """Refuses every write, as the kernel does after an error of the disk; or takes them again."""
        _mount("-o", f"remount,{'ro' if is_read_only else 'rw'}", str(self.path))


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """A disk mounted in a folder; only root may do that."""
    path = folder / "disk"
    path.mkdir()
    _mount("-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs", str(path))
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
