"""The options of the benchmarks' command lines, each with its default."""

import argparse
from collections.abc import Sequence
from typing import Any


def parsed_options(
    description: str | None, *, choices: dict[str, Sequence[str]] | None = None, **defaults: Any
) -> argparse.Namespace:
    """What the command line says: `--NAME VALUE` of the type of its default, several values where that is a list."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in defaults.items():
        is_list = isinstance(default, list)
        parser.add_argument(
            f"--{name}",
            type=type(default[0] if is_list else default),
            nargs="+" if is_list else None,
            choices=(choices or {}).get(name),
            default=default,
        )
    return parser.parse_args()
