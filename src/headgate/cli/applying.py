"""The commands that bring files of resources, or former revisions, into a gateway that runs."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from headgate.cli.admin_client import Address, AdminClient, Pid, PidFile, RuntimeDir
from headgate.cli.failing import USAGE, fail
from headgate.cli.resources import DryRun, Note, Output, OutputFormat, written
from headgate.config.errors import ConfigError
from headgate.config.units import parse_duration

File = Annotated[
    Path, typer.Argument(help="YAML, TOML or JSON with `routes`, `upstreams` ..., or a folder of such.")
]
Prune = Annotated[
    bool, typer.Option("--prune", help="Delete what the same owner has applied before, and FILE has no more.")
]
Owner = Annotated[
    str, typer.Option(help="Who applies: pruning deletes only what the same owner has applied.")
]
YesReally = Annotated[
    bool, typer.Option("--yes-really", help="Prune even nearly everything, or all resources of a kind.")
]


def apply(
    file: File,
    prune: Prune = False,
    dry_run: DryRun = False,
    owner: Owner = "default",
    yes_really: YesReally = False,
    note: Note = "",
    output: OutputFormat = Output.TABLE,
    admin: Address = None,
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
) -> None:
    """Make the resources of FILE those of a gateway that runs, in one change."""
    client = AdminClient.find(admin, pid, pid_file, runtime_dir)
    body = {**_import(file, owner, prune=prune), "allow_many": yes_really, "note": note}
    reply = client.ask("POST", "/v1/import", body, query={"dry_run": "true" if dry_run else None}).content
    if output is not Output.TABLE:
        print(written(reply, output), end="")
        return
    from headgate.cli.resource_tables import print_plan

    print_plan(reply, is_trial=dry_run)


def _import(file: Path, owner: str, *, prune: bool) -> dict[str, Any]:
    from headgate.cli.resource_files import read_resources

    if not file.exists():
        fail(f"the file `{file}` does not exist", USAGE)
    try:
        return {"resources": read_resources(file), "owner": owner, "prune": prune}
    except ConfigError as error:
        fail(str(error), USAGE)


def diff(
    file: Annotated[
        Path | None,
        typer.Argument(help="What `apply` would change; left out: what differs between revisions."),
    ] = None,
    prune: Prune = False,
    owner: Owner = "default",
    from_: Annotated[int | None, typer.Option("--from", help="A revision.", min=0)] = None,
    to: Annotated[
        int | None, typer.Option("--to", help="A later revision.  [default: the newest]", min=0)
    ] = None,
    output: OutputFormat = Output.TABLE,
    admin: Address = None,
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
) -> None:
    """Show what FILE would change, or what differs between two revisions. Exits with 1 if there is a difference."""
    if (file is None) == (from_ is None):
        fail("name a FILE, or a revision with --from", USAGE)
    client = AdminClient.find(admin, pid, pid_file, runtime_dir)
    if file is None:
        query = {"from": str(from_), "to": None if to is None else str(to)}
        edits = client.ask("GET", "/v1/diff", query=query).content["edits"]
    else:
        edits = _edits(client, _import(file, owner, prune=prune))
    if output is Output.TABLE:
        from headgate.cli.resource_tables import print_diff

        print_diff([line for edit in edits for line in diff_lines(edit)])
    else:
        print(written(edits, output), end="")
    raise SystemExit(1 if edits else 0)


def _edits(client: AdminClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    reply = client.ask("POST", "/v1/import", {**body, "allow_many": True}, query={"dry_run": "true"}).content
    stored = client.ask("GET", "/v1/export").content["resources"]
    edits = []
    for verb in ("created", "changed", "deleted"):
        for key in reply["changes"][verb]:
            kind, _, name = key.partition("/")
            if kind not in stored and kind not in body["resources"]:
                continue
            after = body["resources"].get(kind, {}).get(name) if verb != "deleted" else None
            edits.append(
                {"kind": kind, "name": name, "before": stored.get(kind, {}).get(name), "after": after}
            )
    return sorted(edits, key=lambda edit: (edit["kind"], edit["name"]))


def diff_lines(edit: dict[str, Any]) -> list[str]:
    """The lines of a unified diff of one resource as YAML."""
    before, after = (
        [] if one is None else written(one, Output.YAML).splitlines()
        for one in (edit["before"], edit["after"])
    )
    name = f"{edit['kind']}/{edit['name']}"
    old, new = (name if one is not None else "/dev/null" for one in (edit["before"], edit["after"]))
    lines = list(difflib.unified_diff(before, after, old, new, lineterm="", n=100))
    return lines or [f"--- {name}", f"+++ {name}", "  (secrets differ)"]


def history(
    kind: Annotated[str | None, typer.Argument(help="Only of this kind's resource NAME.")] = None,
    name: Annotated[str | None, typer.Argument(help="The resource's name.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The most revisions that are shown.")] = 20,
    output: OutputFormat = Output.TABLE,
    admin: Address = None,
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
) -> None:
    """Show who changed what, the newest revision first."""
    client = AdminClient.find(admin, pid, pid_file, runtime_dir)
    if (kind is None) != (name is None):
        fail("name a KIND and a NAME, or neither", USAGE)
    query = {"limit": str(limit), "resource": f"{kind}/{name}" if kind else None}
    entries = client.ask("GET", "/v1/history", query=query).content["entries"]
    if output is not Output.TABLE:
        print(written(entries, output), end="")
        return
    from headgate.cli.resource_tables import print_history

    print_history(entries)


def rollback(
    revision: Annotated[
        int, typer.Argument(help="The revision to go back to; see `headgate history`.", min=0)
    ],
    dry_run: DryRun = False,
    note: Note = "",
    admin: Address = None,
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
) -> None:
    """Make the resources what they were at a revision; that is a new revision."""
    client = AdminClient.find(admin, pid, pid_file, runtime_dir)
    body = {"revision": revision, "note": note}
    reply = client.ask("POST", "/v1/rollback", body, query={"dry_run": "true" if dry_run else None}).content
    for result in reply["results"]:
        print(f"{result['kind']}/{result['name']}", file=sys.stderr)
    what = "would change" if dry_run else f"changed, revision {reply['revision']}"
    count = len(reply["results"])
    print(f"{count} resource{'' if count == 1 else 's'} {what}", file=sys.stderr)


def compact(
    keep: Annotated[
        int | None, typer.Option(min=1, help="Keep the last revisions, as many as this, whatever their age.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(help="Keep what is younger, as in `30d`, however many revisions.")
    ] = None,
    admin: Address = None,
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
) -> None:
    """Forget former revisions in the store; one of both options is needed."""
    if keep is None and older_than is None:
        fail(
            "--keep or --older-than is required\n  hint: write `--keep 1000`, `--older-than 30d` or both",
            USAGE,
        )
    body: dict[str, Any] = {} if keep is None else {"keep": keep}
    if older_than is not None:
        try:
            body["older_than_s"] = parse_duration(older_than)
        except ConfigError as error:
            fail(str(error), USAGE)
    client = AdminClient.find(admin, pid, pid_file, runtime_dir)
    oldest = client.ask("POST", "/v1/compact", body).content["oldest"]
    print(f"the oldest revision that is left is {oldest}", file=sys.stderr)
