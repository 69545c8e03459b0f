"""The stub src/headgate/_core.pyi against the built module, by mypy's stubtest.

What stubtest cannot know about an extension module is listed in tools/stub_allowlist.txt, each line with its reason.
"""

import subprocess
import sys
from pathlib import Path

ALLOWED = Path(__file__).with_name("stub_allowlist.txt")


def main() -> int:
    command = [sys.executable, "-m", "mypy.stubtest", "headgate._core", "--concise"]
    if ALLOWED.exists():
        command += ["--allowlist", str(ALLOWED), "--ignore-unused-allowlist"]
    return subprocess.run(command, cwd=ALLOWED.parent.parent).returncode


if __name__ == "__main__":
    sys.exit(main())
