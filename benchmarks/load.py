"""Load from wrk on a core of its own, every answer of which is checked.

Knows wrk and numbers; knows nothing of what is being measured.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

SCRIPT = Path(__file__).with_name("load.lua")
# No answer within this is broken off, and counted as an error.
PATIENCE_S = 60

Check = Callable[[bytes], None]


@dataclass(frozen=True)
class Load:
    """What is posted, and what must come back: `check` raises AssertionError at any other answer."""

    url: str
    body: bytes
    media: str
    check: Check


@dataclass(frozen=True)
class Result:
    """Requests per second that were answered with 200; latencies in milliseconds; all answers by status."""

    per_second: float
    p50: float
    p99: float
    p99_9: float
    statuses: dict[str, int]
    broken: int


def run(load: Load, connections: int, seconds: int, core: int) -> Result:
    """Post from `connections` clients, each as soon as it has its answer. Raises AssertionError."""
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed: apt-get install wrk")
    with TemporaryDirectory() as folder:
        body, answers = Path(folder, "body"), Path(folder, "answers")
        body.write_bytes(load.body)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={PATIENCE_S}s"]
        shown = subprocess.run(
            ["taskset", "-c", str(core), *command, "--script", str(SCRIPT), load.url],
            env=os.environ | {"BODY": str(body), "MEDIA": load.media, "ANSWERS": str(answers)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        check_answers(answers.read_bytes(), load.check)
    return parsed(shown)


def check_answers(answers: bytes, check: Check) -> None:
    """Check each different answer of status 200 that load.lua kept."""
    while answers:
        head, _, rest = answers.partition(b"\n")
        status, size = map(int, head.split())
        if status == 200:
            check(rest[:size])
        answers = rest[size:]


def parsed(shown: str) -> Result:
    """Read what load.lua prints at its end."""
    lines = [line.split() for line in shown.splitlines()]
    statuses = {words[1]: int(words[2]) for words in lines if words[:1] == ["status"]}
    figures = {words[0]: float(words[1]) for words in lines if len(words) == 2 and _number(words[1])}
    return Result(
        per_second=statuses.get("200", 0) / figures["seconds"],
        p50=figures["p50"], p99=figures["p99"], p99_9=figures["p99.9"],
        statuses=statuses, broken=int(figures["broken"]),
    )  # fmt: skip


def _number(text: str) -> bool:
    return text.replace(".", "", 1).replace("e-", "", 1).replace("e+", "", 1).isdigit()
