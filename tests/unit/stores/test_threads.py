"""A store of files in a process that has loaded nothing else of the gateway."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio, sys
from headgate.stores import open_store

async def read(folder):
    async with open_store(f"files:{folder}") as store:
        return len((await store.load()).resources)

print([asyncio.run(read(sys.argv[1])) for _ in range(3)])
"""


def test_folders_are_read_by_one_thread_after_another(tmp_path: Path) -> None:
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes" / "a.yaml").write_text("path: /\nrespond: here\n")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (0, "[1, 1, 1]\n"), said.stderr
