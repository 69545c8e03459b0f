"""The engine's module may be imported first by any thread, whatever becomes of it."""

import subprocess
import sys

import pytest

PROGRAM = """
import threading

def load():
    import MODULE

def use():
    from headgate import Gateway
    from headgate.testing import TestGateway

    gate = Gateway()
    gate.listen(":8080")
    gate.route("/", respond="x" * 1000)
    with TestGateway(gate) as gateway:
        for _ in range(20):
            assert gateway.get("/").status == 200

def in_a_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()

BEFORE
in_a_thread(load)
use()
for _ in range(4):
    in_a_thread(use)
use()
print("alive", [one.name for one in threading.enumerate()])
"""


@pytest.mark.parametrize("module", ["headgate._core", "headgate"])
@pytest.mark.parametrize("before", ["", "import headgate", "import headgate._core"])
def test_a_thread_that_ends_may_import_it_first(module: str, before: str) -> None:
    program = PROGRAM.replace("MODULE", module).replace("BEFORE", before)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert done.stdout.startswith("alive")
    stays = module == "headgate._core" and before != "import headgate._core"
    assert ("headgate allocator" in done.stdout) is stays
