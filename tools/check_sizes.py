"""The sizes of Rust files and functions: what outgrows a screen or two is split before it is merged.

How it works: lines are counted as they stand, without the tests at a file's end; a function is its lines from `fn`
to the brace that closes it at the same indentation.
"""

import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

MOST_FILE, MOST_MEDIAN, MOST_FUNCTION = 400, 170, 60
# Functions and files that were longer when this check began (to the next ten): they may shrink, none is to be added.
LONG: dict[str, int] = {}
TESTS = re.compile(r"^#\[cfg\(test\)\]\s*mod \w+ \{", re.MULTILINE)
FUNCTION = re.compile(r"^( *)(?:pub(?:\([^)]*\))? )?(?:const )?(?:async )?fn (\w+)")


def functions(lines: list[str]) -> Iterator[tuple[str, int]]:
    """The functions of a file, each with its number of lines."""
    for start, line in enumerate(lines):
        if found := FUNCTION.match(line):
            ends = (at for at in range(start, len(lines)) if lines[at].rstrip() == found[1] + "}")
            one_line = line.rstrip().endswith((";", "}"))
            end = start if one_line else next(ends, start)
            yield found[2], end - start + 1


def problems(root: Path) -> list[str]:
    """All that is too long in a checkout, one line each."""
    found, sizes = [], []
    for path in sorted((root / "crates").glob("*/src/**/*.rs")):
        if "tests" in path.parts or path.stem == "tests":
            continue
        name = str(path.relative_to(root))
        lines = TESTS.split(path.read_text())[0].splitlines()
        sizes.append(len(lines))
        if len(lines) > LONG.get(name, MOST_FILE):
            found.append(f"{name}: {len(lines)} lines; hint: at most {MOST_FILE}, split it by duty")
        for function, length in functions(lines):
            if length > LONG.get(f"{name}::{function}", MOST_FUNCTION):
                found.append(f"{name}: `{function}` has {length} lines; hint: at most {MOST_FUNCTION}")
    if sizes and statistics.median(sizes) > MOST_MEDIAN:
        found.append(
            f"crates: the median file has {statistics.median(sizes):.0f} lines; hint: at most {MOST_MEDIAN}"
        )
    return found


if __name__ == "__main__":
    found = problems(Path(__file__).resolve().parent.parent)
    print("\n".join(found) or "sizes hold")
    sys.exit(bool(found))
