"""Where modules are, found without importing anything, their parents neither."""

from __future__ import annotations

import os
from importlib.machinery import ModuleSpec, PathFinder


def found_spec(name: str, places: list[str]) -> ModuleSpec | None:
    """Where a module is, in folders; nothing is imported."""
    try:
        return PathFinder.find_spec(name, places)
    except KeyError:
        # a folder without `__init__.py` in another asks for its parent, which nobody has imported
        spec = ModuleSpec(name, None, is_package=True)
        folders = (os.path.join(place, name.rpartition(".")[2]) for place in places)
        spec.submodule_search_locations = [folder for folder in folders if os.path.isdir(folder)]
        return spec


def places_of(spec: ModuleSpec) -> list[str]:
    """The folders of a package."""
    found = spec.submodule_search_locations
    return list(getattr(found, "_path", found) or ())  # the list of a namespace asks for its parent, too
