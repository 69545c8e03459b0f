"""The path in a store's URL, whether it lies on this machine, and whether a file there has changed."""

import os
import stat
from pathlib import Path
from urllib.parse import unquote

from headgate.stores.errors import StoreUnavailable

Signature = tuple[int, int, int, int]

_NETWORK = frozenset(
    (
        *(
            "nfs",
            "nfs4",
            "cifs",
            "smb3",
            "smbfs",
            "ceph",
            "glusterfs",
            "lustre",
            "gpfs",
            "afs",
            "9p",
            "ocfs2",
        ),
        *("gfs2", "beegfs", "fuse.glusterfs", "fuse.sshfs", "fuse.s3fs", "fuse.ceph", "fuse.rclone"),
    )
)


def path_of(url: str) -> str:
    """`/var/x` of `files:/var/x`, `files:///var/x`; what is percent-encoded is decoded."""
    return unquote(url.partition(":")[2]).removeprefix("//")


def file_system(folder: Path, mounts: str | None = None) -> str:
    """The type of the file system of a folder, by `/proc/self/mounts` (proc(5)); empty where that is not known."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mounts").read_text()
        except OSError:
            return ""
    found, longest = "", -1
    resolved = folder.resolve()
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        place = Path(point.encode().decode("unicode_escape"))
        if resolved.is_relative_to(place) and len(place.parts) >= longest:
            found, longest = kind, len(place.parts)
    return found


def refuse_network(folder: Path, mounts: str | None = None) -> None:
    """Raises `StoreUnavailable` where the folder is on a network file system: SQLite's WAL needs shared memory."""
    kind = file_system(folder, mounts)
    if kind in _NETWORK:
        raise StoreUnavailable(
            f"`{folder}` is on `{kind}`, which can corrupt SQLite databases\n  hint: a local disk, or postgresql://"
        )


def signature_of(path: Path) -> Signature | None:
    """What differs when a file was replaced or written to; None for one that is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
