"""A server under measurement: a process on given cores, its start-up, CPU time and memory.

Knows Linux's /proc; knows nothing of what is being measured.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# As it was before TensorFlow was asked here for the right answers: a server sets for itself what it needs.
ENVIRONMENT = dict(os.environ)
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
START_S = 120
# CPU time of a third of a second in which nothing is computed.
IDLE_S = 0.03


class Server:
    """`python -m ...` on these cores; started when `ready` answers 200, it ends with its `with` block."""

    def __init__(
        self,
        module: Sequence[str],
        ready: str,
        cores: Sequence[int],
        environment: Mapping[str, str],
        log: Path,
        folder: Path | None = None,
    ) -> None:
        """Start it in this folder, and wait for it; `start_up` is how long that took, in seconds."""
        if self._answers(ready):
            raise SystemExit(f"somebody answers at {ready} already, and would be measured: end that first")
        began = time.perf_counter()
        self._log = log.open("wb")
        self.process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, cores)), sys.executable, "-m", *module],
            env={**ENVIRONMENT, **environment}, stdout=self._log, stderr=self._log, cwd=folder,
        )  # fmt: skip
        while not self._answers(ready):
            if self.process.poll() is not None or time.perf_counter() - began > START_S:
                self.process.kill()
                raise SystemExit(f"{' '.join(module)} did not start: see {log}")
            time.sleep(0.05)
        self.start_up = time.perf_counter() - began

    @staticmethod
    def _answers(url: str) -> bool:
        try:
            return bool(urllib.request.urlopen(url, timeout=5).status == 200)
        except (urllib.error.URLError, OSError):
            return False

    @property
    def cpu_s(self) -> float:
        """The CPU time that it and its workers have used, in seconds."""
        return sum(_cpu_s(pid) for pid in _family(self.process.pid))

    @property
    def memory_mb(self) -> float:
        """The resident memory of it and its workers, in MB of 10^6 bytes."""
        pages = sum(
            int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in _family(self.process.pid)
        )
        return pages * PAGE / 1e6

    def forget_peak(self) -> None:
        """Let `peak_mb` begin anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    @property
    def peak_mb(self) -> float:
        """The most resident memory that the process had, without its workers, in MB of 10^6 bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self._log.close()


def settle(servers: Iterable[Server]) -> None:
    """Wait until none of them computes any more what wrk no longer waits for."""
    servers, used = list(servers), -1.0
    while (now := sum(server.cpu_s for server in servers)) - used > IDLE_S:
        used = now
        time.sleep(0.3)


def _family(pid: int) -> list[int]:
    """The process and its children."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [pid, *(one for child in children for one in _family(child))]


def _cpu_s(pid: int) -> float:
    # The name, in brackets, may hold a blank.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
