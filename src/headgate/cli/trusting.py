"""`headgate trust`: has this machine trust the certificate authority for development, or no longer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from headgate.cli.failing import FAILURE, fail

NAME = "headgate-local"
"""Of the certificate in trust stores, without an ending."""


class TrustStore(NamedTuple):
    """Where the system looks for authorities that its administrator adds, and what reads them anew."""

    directory: Path
    command: tuple[str, ...]

    @property
    def file(self) -> Path:
        """Where the authority's certificate is put."""
        return self.directory / f"{NAME}.crt"


# Debian, Ubuntu, Alpine; Fedora, RHEL; Arch; openSUSE.
STORES = (
    TrustStore(Path("/usr/local/share/ca-certificates"), ("update-ca-certificates",)),
    TrustStore(Path("/etc/pki/ca-trust/source/anchors"), ("update-ca-trust", "extract")),
    TrustStore(Path("/etc/ca-certificates/trust-source/anchors"), ("update-ca-trust", "extract")),
    TrustStore(Path("/etc/pki/trust/anchors"), ("update-ca-certificates",)),
)


def trust(
    remove: Annotated[
        bool, typer.Option("--remove", help="Take it out of the system's trust store again.")
    ] = False,
) -> None:
    """Have this machine trust the local certificate authority, so that browsers and clients take its certificates.

    For development: `tls: {local: ...}` and `headgate proxy https://localhost:8443`. The authority is made if there is
    none yet. Browsers with a store of their own are told too, if `certutil` is installed.
    """
    from headgate.config.snapshot_tls import authority_folder

    store = next((one for one in STORES if one.directory.is_dir() and shutil.which(one.command[0])), None)
    certificate = authority_folder() / "ca.pem"
    if not remove:
        _make(certificate.parent)
    if store is None:
        fail(
            "no trust store of this system is known\n"
            f"  hint: import `{certificate}` where your clients look for authorities",
            FAILURE,
        )
    if os.geteuid() == 0:
        _change(store, None if remove else certificate)
    else:
        _change_as_root(store, None if remove else certificate)
    _tell_browsers(None if remove else certificate)
    what = (
        f"`{certificate}` is trusted"
        if not remove
        else "the local certificate authority is not trusted any more"
    )
    print(f"{what}; restart browsers that are open", file=sys.stderr)


def _make(folder: Path) -> None:
    from headgate import _core

    try:
        _core.ensure_local_authority(str(folder))
    except ValueError as error:
        fail(str(error), FAILURE)


def _change(store: TrustStore, certificate: Path | None) -> None:
    """Puts the certificate into the store, or takes it out; as root."""
    try:
        if certificate is None:
            store.file.unlink(missing_ok=True)
        else:
            shutil.copyfile(certificate, store.file)
            store.file.chmod(0o644)
    except OSError as error:
        fail(f"the trust store `{store.directory}`: {error.strerror}", FAILURE)
    _run(store.command)


def _change_as_root(store: TrustStore, certificate: Path | None) -> None:
    change = (
        ("rm", "-f", str(store.file))
        if certificate is None
        else ("install", "-m", "644", str(certificate), str(store.file))
    )
    if not shutil.which("sudo"):
        shown = " && ".join((" ".join(change), " ".join(store.command)))
        fail(f"the system's trust store belongs to root\n  hint: as root, run `{shown}`", FAILURE)
    for command in (change, store.command):
        print(f"sudo {' '.join(command)}", file=sys.stderr)
        _run(("sudo", *command))


def _run(command: tuple[str, ...]) -> None:
    done = subprocess.run(command, capture_output=command[0] != "sudo", text=True, check=False)
    if done.returncode:
        fail(f"`{' '.join(command)}` failed\n  hint: {(done.stderr or 'see above').strip()}", FAILURE)


def _tell_browsers(certificate: Path | None) -> None:
    """Chromium's and Firefox's stores of this user (NSS), as far as there are any."""
    home = Path.home()
    found = [home / ".pki" / "nssdb", *(home / ".mozilla" / "firefox").glob("*.default*")]
    databases = [one for one in found if (one / "cert9.db").is_file()]
    if not databases:
        return
    if not shutil.which("certutil"):
        print("browsers have a store of their own; hint: install `certutil` (libnss3-tools)", file=sys.stderr)
        return
    for database in databases:
        # an older one of that name would hide the new one
        _certutil("-D", "-d", f"sql:{database}", "-n", NAME)
        if certificate is not None:
            done = _certutil("-A", "-d", f"sql:{database}", "-t", "C,,", "-n", NAME, "-i", str(certificate))
            if done.returncode:
                fail(f"`{database}` does not take the certificate: {done.stderr.strip()}", FAILURE)


def _certutil(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["certutil", *arguments], capture_output=True, text=True, check=False)
