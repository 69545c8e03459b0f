"""Prints what .venv needs, from pyproject.toml: the dependencies and the `dev` extra, one a line."""

import tomllib
from pathlib import Path


def requirements(pyproject: Path) -> list[str]:
    """The requirement lines of `[project]` and of its `dev` extra."""
    project = tomllib.loads(pyproject.read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["dev"]]


if __name__ == "__main__":
    print("\n".join(requirements(Path(__file__).parent.parent / "pyproject.toml")))
