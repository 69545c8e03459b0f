"""The commands for resources of a gateway that runs: `get`, `edit`, `delete`."""

from __future__ import annotations

import enum
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from headgate.cli.admin_client import Address, AdminClient, Pid, PidFile, RuntimeDir
from headgate.cli.failing import FAILURE, USAGE, fail


class Output(enum.StrEnum):
    """How what was found is written."""

    TABLE = "table"
    YAML = "yaml"
    JSON = "json"


KindName = Annotated[
    str, typer.Argument(metavar="KIND", help="`routes`, `upstreams`, `plugins`, `certificates` ...")
]
Name = Annotated[str, typer.Argument(help="The resource's name.")]
OutputFormat = Annotated[Output, typer.Option("--output", "-o", help="For people, or for programs.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Try it in every worker, and change nothing.")]
Note = Annotated[str, typer.Option("--note", "-m", help="Why, for the history.")]


def get(
    kind: Annotated[str | None, typer.Argument(help="A kind; all kinds, if left out.")] = None,
    name: Annotated[
        str | None, typer.Argument(help="A resource's name; all of the kind, if left out.")
    ] = None,
    search: Annotated[str | None, typer.Option(help="Only those with this text in them.")] = None,
    output: OutputFormat = Output.TABLE,
    admin: Address = None,
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
) -> None:
    """Show resources: one, those of a kind, or all. Secrets are masked."""
    client = AdminClient.find(admin, pid, pid_file, runtime_dir)
    if kind and name:
        found = client.ask("GET", f"/v1/{kind}/{name}").content
        print(written(found, Output.JSON if output is Output.JSON else Output.YAML), end="")
        return
    if kind is None:
        every = client.ask("GET", "/v1/export").content["resources"]
        items: list[tuple[str, str, int | None, Any]] = [
            (one, name, None, document) for one, of in every.items() for name, document in of.items()
        ]
    else:
        items = [(kind, *item) for item in listed(client, kind, search)]
    if output is not Output.TABLE:
        by_kind: dict[str, dict[str, Any]] = {}
        for one, each, _, document in items:
            by_kind.setdefault(one, {})[each] = document
        print(written(by_kind if kind is None else by_kind.get(kind, {}), output), end="")
        return
    from headgate.cli.resource_tables import print_resources

    print_resources(items)


def listed(client: AdminClient, kind: str, search: str | None = None) -> list[tuple[str, int, Any]]:
    """Name, revision and document of every resource of a kind."""
    items: list[tuple[str, int, Any]] = []
    after: str | None = None
    while True:
        query = {"limit": "1000", "after": after, "search": search}
        page = client.ask("GET", f"/v1/{kind}", query=query).content
        items += [(item["name"], item["revision"], item["resource"]) for item in page["items"]]
        after = page["next"]
        if after is None:
            return items


def edit(
    kind: KindName,
    name: Name,
    admin: Address = None,
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
) -> None:
    """Edit a resource as YAML in `$EDITOR`; only what was changed is sent, so masked secrets stay as they are."""
    import yaml

    client = AdminClient.find(admin, pid, pid_file, runtime_dir)
    found = client.ask("GET", f"/v1/{kind}/{name}")
    before = found.content
    text = _edited(written(before, Output.YAML), f"{kind}-{name}")
    try:
        after = yaml.safe_load(text)
    except yaml.YAMLError as error:
        fail(f"that is not valid YAML: {str(error).splitlines()[0]}", USAGE)
    if not isinstance(after, dict):
        fail("a resource is a table", USAGE)
    patch = difference(before, after)
    if not patch:
        print("nothing was changed", file=sys.stderr)
        return
    headers = {"if-match": found.headers["etag"], "content-type": "application/merge-patch+json"}
    changed = client.ask("PATCH", f"/v1/{kind}/{name}", patch, headers=headers)
    print(f"{kind}/{name}: revision {changed.headers['x-headgate-revision']}", file=sys.stderr)


def difference(before: Any, after: Any) -> dict[str, Any]:
    """The merge patch (RFC 7396) that makes `after` of `before`."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key in before and isinstance(value, dict) and isinstance(before[key], dict):
            if inner := difference(before[key], value):
                patch[key] = inner
        elif key not in before or before[key] != value:
            patch[key] = value
    return patch


def _edited(text: str, name: str) -> str:
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    descriptor, path = tempfile.mkstemp(prefix=f"headgate-{name}-", suffix=".yaml")
    file = Path(path)
    try:
        with open(descriptor, "w", encoding="utf-8") as staged:
            staged.write(text)
        try:
            code = subprocess.run([*editor, path]).returncode
        except OSError as error:
            fail(f"cannot run the editor `{editor[0]}`: {error.strerror}\n  hint: set EDITOR", FAILURE)
        if code != 0:
            fail(f"the editor ended with status {code}; nothing was changed", FAILURE)
        return file.read_text(encoding="utf-8")
    finally:
        file.unlink(missing_ok=True)


def delete(
    kind: KindName,
    name: Name,
    dry_run: DryRun = False,
    admin: Address = None,
    pid: Pid = None,
    pid_file: PidFile = None,
    runtime_dir: RuntimeDir = None,
) -> None:
    """Delete a resource."""
    client = AdminClient.find(admin, pid, pid_file, runtime_dir)
    found = client.ask("GET", f"/v1/{kind}/{name}")
    response = client.ask(
        "DELETE",
        f"/v1/{kind}/{name}",
        query={"dry_run": "true" if dry_run else None},
        headers={"if-match": found.headers["etag"]},
    )
    verb = "could be deleted" if dry_run else f"deleted, revision {response.headers['x-headgate-revision']}"
    print(f"{kind}/{name}: {verb}", file=sys.stderr)


def written(content: Any, output: Output) -> str:
    """As JSON or YAML."""
    if output is Output.JSON:
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    import yaml

    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text
