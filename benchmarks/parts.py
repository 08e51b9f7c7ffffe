"""Measures the parts of a request in one process: validation, the coalescer, the graph, the wording.

    scripts/bench --parts                           half a minute
    python -m benchmarks.parts --model wine_grade

Prints the median of each in microseconds, for one row and for many. What was tried and what it gave stands in
benchmarks/NOTES.md.
"""

import argparse
import asyncio
import inspect
import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

# Before TensorFlow is imported: it reads these once.
os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}

import numpy as np
import uvloop

from service.actions import actions
from service.batching import Coalescer
from service.inference import CALL_ROWS, Job, together
from service.judge import Judge
from service.models import MODELS
from service.servable import SavedModelServable, keep_buffers
from service.table import read_csv

MANY = 6497


class Patient:
    """A caller that waits for ever."""

    deadline = inf

    def gave_up(self) -> bool:
        """Never."""
        return False

    async def gone(self) -> None:
        """Never called."""


def main() -> None:
    """Measure the parts for one model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="survival")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="as for the service")
    arguments = parser.parse_args()
    keep_buffers()
    spec = MODELS[arguments.model]
    home = arguments.artifacts / spec.name
    newest = max((path for path in home.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    servable = SavedModelServable(newest, spec)
    action = actions(spec)[0]
    for rows in (1, MANY):
        body = json.dumps({"instances": [dict(spec.example)] * rows}).encode()
        report(f"judge JSON, {rows:,} rows", partial(action.judge.json, body), rows)
        report(f"judge CSV, {rows:,} rows", partial(csv, action.judge, rows), rows)
    instances, parameters = action.judge.json(json.dumps({"instances": [dict(spec.example)]}).encode())
    for rows in (1, 16, 64, CALL_ROWS):
        matrix = np.repeat(instances.matrix, rows, axis=0)
        report(f"graph, {rows} rows", partial(servable.predict, matrix), rows)
    job = action.job(servable, instances, parameters)
    columns = job.compute(instances.matrix)
    report("word one row", lambda: job.answer(columns), 1)
    uvloop.run(lone(servable, job))
    uvloop.run(on_a_thread(servable, job))


def csv(judge: Judge, rows: int) -> None:
    """Judge the example so many times, as CSV."""
    line = ",".join(map(str, judge.spec.example.values()))
    read_csv(judge, "\n".join([",".join(judge.spec.example), *([line] * rows), ""]).encode(), {})


async def lone(servable: SavedModelServable, job: Job) -> None:
    """One row without the coalescer and with it: what a lone request pays for company."""
    compute = partial(together, servable)
    coalescer = Coalescer(compute, CALL_ROWS)
    await in_turns(
        ("a lone row without the coalescer", lambda: compute([job])),
        ("a lone row with the coalescer", lambda: coalescer(job, 1, Patient())),
    )


async def on_a_thread(servable: SavedModelServable, job: Job) -> None:
    """A call of 64 rows on the loop and on a thread: what handing it over and back costs."""
    compute = partial(together, servable)
    jobs = [job] * 64
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    await in_turns(
        ("64 rows on the loop", lambda: compute(jobs)),
        ("64 rows on a thread", lambda: loop.run_in_executor(pool, compute, jobs)),
    )


async def in_turns(*ways: tuple[str, Callable[[], Any]]) -> None:
    """Print the quartiles of each way's time; what is to be awaited is awaited."""
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(3000):
        for (_, work), taken in zip(ways, times, strict=True):
            await asyncio.sleep(0)
            began = time.perf_counter()
            found = work()
            if inspect.isawaitable(found):
                await found
            taken.append(time.perf_counter() - began)
    for (name, _), taken in zip(ways, times, strict=True):
        low, middle, high = np.quantile(taken[500:], [0.25, 0.5, 0.75]) * 1e6
        print(f"{name:34} {middle:8.1f} us, half of them within {low:.1f} to {high:.1f}")


def report(name: str, work: Callable[[], object], rows: int) -> None:
    """Print the median time of the work."""
    times = []
    for _ in range(2000 if rows < CALL_ROWS else 200 if rows < MANY else 20):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    median = statistics.median(times[len(times) // 10 :]) * 1e6
    print(f"{name:28} {median:10.1f} us {median / rows:8.2f} us a row")


if __name__ == "__main__":
    main()
