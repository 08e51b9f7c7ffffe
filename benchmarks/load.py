"""Load from wrk on a core of its own, every answer of which is checked.

Knows wrk and numbers; knows nothing of what is being measured.
"""

import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

SCRIPT = Path(__file__).with_name("load.lua")
# No answer within this is broken off, and counted as an error.
PATIENCE_S = 60
# Of a load's turn; half of it for what is still to be answered when the sending ends.
TURN_S = 0.5
# Of a load between two of its turns: both servers close a connection that is silent for five seconds, and wrk
# ends a second after the last turn.
SILENT_S = 3.9
# Until all have started.
BEGIN_S = 1.0

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

    @property
    def refused(self) -> int:
        """The requests that had another answer than 200, or none."""
        return self.broken + sum(self.statuses.values()) - self.statuses.get("200", 0)


def run(load: Load, connections: int, seconds: int, core: int) -> Result:
    """Post from `connections` clients, each as soon as it has its answer. Raises AssertionError."""
    return parsed(_wrk(load, connections, seconds, core, {}))


def run_in_turns(
    loads: Sequence[tuple[Load, int]], rounds: int, core: int, turn_s: float = TURN_S
) -> list[tuple[Result, NDArray[np.float64]]]:
    """Post each load from so many clients, one load after the other, `rounds` times.

    A turn sends for half of `turn_s`, and lasts until it is answered. Returns a result for each load, whose
    `per_second` means nothing, and the requests per second of each turn, (rounds). Raises SystemExit if a
    load is silent for too long, or the last answer of a turn came in the next load's, AssertionError at a
    wrong answer.
    """
    if (len(loads) - 0.5) * turn_s > SILENT_S:
        raise SystemExit(
            f"{len(loads)} loads in turns of {turn_s:g} s are silent for too long: take shorter ones"
        )
    began, seconds = time.monotonic() + BEGIN_S, rounds * len(loads) * turn_s
    turns = {"TURN": str(turn_s), "BEGIN": str(began), "PLACES": str(len(loads))}

    def shown(place: int) -> str:
        load, connections = loads[place]
        # Ends in the pause behind the last turn.
        lasts = math.ceil(BEGIN_S + seconds + 1)
        return _wrk(load, connections, lasts, core, turns | {"PLACE": str(place), "ROUNDS": str(rounds)})

    with ThreadPoolExecutor(len(loads)) as pool:
        found = list(pool.map(shown, range(len(loads))))
    return [(parsed(one), rates(one, rounds, turn_s)) for one in found]


def _wrk(load: Load, connections: int, seconds: int, core: int, turns: Mapping[str, str]) -> str:
    """Run wrk, check the answers that it kept, and return what it printed."""
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed: apt-get install wrk")
    with TemporaryDirectory() as folder:
        body, answers = Path(folder, "body"), Path(folder, "answers")
        body.write_bytes(load.body)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={PATIENCE_S}s"]
        shown = subprocess.run(
            ["taskset", "-c", str(core), *command, "--script", str(SCRIPT), load.url],
            env={**os.environ, "BODY": str(body), "MEDIA": load.media, "ANSWERS": str(answers), **turns},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        check_answers(answers.read_bytes(), load.check)
    return shown


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


def rates(shown: str, rounds: int, turn_s: float = TURN_S) -> NDArray[np.float64]:
    """Read the requests per second of each turn, (rounds). Raises SystemExit if turns met one another."""
    lines = [line.split() for line in shown.splitlines()]
    turns = {int(words[1]): float(words[2]) / float(words[3]) for words in lines if words[:1] == ["turn"]}
    late, sent = (next(int(words[1]) for words in lines if words[:1] == [name]) for name in ("late", "sent"))
    missing = sent - sum(parsed(shown).statuses.values())
    if late or missing or sorted(turns) != list(range(rounds)):
        raise SystemExit(
            f"{late} answers came after their turn of {turn_s:g} s and {missing} never, {len(turns)} of"
            f" {rounds} turns were answered: take longer turns, fewer rows or fewer clients"
        )
    return np.array([turns[number] for number in range(rounds)])


def _number(text: str) -> bool:
    return text.replace(".", "", 1).replace("e-", "", 1).replace("e+", "", 1).isdigit()
