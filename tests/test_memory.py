"""The memory of a process that loads and computes, each measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ARTIFACTS = Path(__file__).parent.parent / "artifacts"

LOADINGS = """
import gc, sys
from pathlib import Path
from service.models import MODELS
from service.servable import SavedModelServable, keep_buffers

keep_buffers()
for _ in range(8):
    SavedModelServable(Path(sys.argv[1]), MODELS["wine_grade"])
    gc.collect()
    print(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20)
"""


def test_the_memory_of_a_version_that_nobody_holds_is_returned() -> None:
    """A wine is loaded eight times, by a process of its own; each that were kept would hold 9 MB."""
    folder = max((ARTIFACTS / "wine_grade").iterdir(), key=lambda path: int(path.name))
    resident = printed(LOADINGS, str(folder))

    # Between two of them 40 MB of freed buffers may be on their way back, or not: highest with highest.
    assert len(resident) == 8
    assert max(resident[4:]) - max(resident[:4]) < 15


THREADS = """
import threading
from pathlib import Path
import numpy as np
from service.servable import keep_buffers

keep_buffers()
end = threading.Event()

def use_and_stay(used):
    np.ones(20 * 2**20, np.uint8)
    used.set()
    end.wait()

for _ in range(5):
    used = threading.Event()
    threading.Thread(target=use_and_stay, args=[used]).start()
    used.wait()
    print(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20)
end.set()
"""


def test_threads_use_one_anothers_buffers() -> None:
    """Five threads, each in its turn, fill 20 MB and leave them: it is the same 20 MB."""
    resident = printed(THREADS)

    assert len(resident) == 5
    assert max(resident) - resident[0] < 15


JUDGED = """
import sys
from pathlib import Path
from service.actions import actions
from service.errors import RefusedBody
from service.models import MODELS

def memory(name):
    status = Path("/proc/self/status").read_text()
    return int(status.partition(name + ":")[2].split()[0]) / 1024

judge = actions(MODELS["survival"])[0].judge
for count in (1, 1, int(sys.argv[1])):
    body = b'{"instances": [{"age": [' + b"{}," * count + b"0]}]}"
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    try:
        judge.json(body)
    except RefusedBody:
        print(memory("VmHWM") - before)
"""


@pytest.mark.parametrize(("objects", "most"), [(20_000, 8), (500_000, 80)])
def test_a_wrong_row_is_not_kept_once_for_each_field_that_it_lacks(objects: int, most: float) -> None:
    """It lacks fifteen. Of JSON pydantic copied it for each: 63 kilobytes took 20 MB, 40 MB took all."""
    grown = printed(JUDGED, str(objects))

    assert len(grown) == 3
    assert grown[-1] < most


def printed(script: str, *arguments: str) -> list[float]:
    """The numbers that a script prints in a process of its own."""
    command = [sys.executable, "-c", script, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ARTIFACTS.parent)
    return [float(line) for line in run.stdout.split()]
