"""Offers three times what the service can answer: what it still answers, and when it is itself again.

    python -m benchmarks.overload                              100 rows of wine_grade a request: three minutes
    python -m benchmarks.overload --rows 1 --seconds 10
    python -m benchmarks.overload --seconds 10 --concurrent 1000 256 64

First the peak, of clients each of which waits for its answer; then half of it, for what is normal; then three
times of it, sent at fixed times (benchmarks/openloop.py), for as long as was asked; then half of it again.
That tells what became of the requests, how long they took, and when all was as usual. How much of the peak is
left is told from turns: some seconds of the peak and some of three times as much, again and again, each
compared with the peaks beside it, as machines get faster and slower by a third within a minute. The service
has one core, the clients the other. Requests have a deadline, told by Request-Timeout.
"""

import argparse
import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.cases import JSON, instances_of
from benchmarks.interval import interval
from benchmarks.openloop import Crowd, Shots
from benchmarks.process import Server
from service.models import MODELS

PORT = 9150
CLIENTS = (16, 64)
CAPACITY_S = 2
WARM_S = 0.5
TURN_S = 3.5
# Until then what waits is still growing, and few are refused.
FILL_S = 0.5
NORMAL_S = 5
NORMAL = 0.5
# More of them are open than requests may be inside.
SPARE_CONNECTIONS = 1000
WINDOW_S = 0.25
GOODPUT = 0.9
RECOVERY_S = 2


def main() -> None:
    """Measure, print; the exit code is 1 where a promise is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="wine_grade")
    parser.add_argument("--rows", type=int, default=100, help="of each request")
    parser.add_argument("--seconds", type=float, default=60, help="of overload")
    parser.add_argument("--turns", type=positive, default=20, help=f"of {TURN_S} s of overload between peaks")
    parser.add_argument("--times", type=float, default=3, help="of the capacity")
    parser.add_argument("--deadline", type=float, default=1, help="seconds")
    parser.add_argument("--concurrent", nargs="*", type=int, help="values of --max-concurrent-requests")
    parser.add_argument("--output", type=Path, default=Path("runs/soak"), help="folder of the server's log")
    asked = parser.parse_args()
    broken = False
    for concurrent in asked.concurrent or [None]:
        load = Load(asked.model, asked.rows, asked.times, asked.deadline, concurrent)
        found = measure(load, asked.seconds, asked.output, asked.turns)
        print(json.dumps(found, indent=1), flush=True)
        broken = broken or bool(found["failures"])
    raise SystemExit(broken)


def positive(text: str) -> int:
    """A whole number from 1 on; ValueError, which argparse words, if it is none."""
    number = int(text)
    if number < 1:
        raise ValueError("less than 1")
    return number


class Load(NamedTuple):
    """What is offered: requests of so many rows, so many times as fast as they can be answered.

    `concurrent` of them may be inside, None for the service's own default.
    """

    model: str = "wine_grade"
    rows: int = 100
    times: float = 3
    deadline_s: float = 1
    concurrent: int | None = None


def measure(
    load: Load, seconds: float = 60, output: Path = Path("runs/soak"), turns: int = 20
) -> dict[str, object]:
    """Start the service, load it, judge; broken promises stand under `failures`."""
    output.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {1})
    options = [] if load.concurrent is None else ["--max-concurrent-requests", str(load.concurrent)]
    ready = f"http://127.0.0.1:{PORT}/health/ready"
    log = output / f"overload-{load.rows}.log"
    data = request(load.model, load.rows, load.deadline_s)
    crowd = Crowd(PORT, data, (load.concurrent or 1000) + SPARE_CONNECTIONS)
    with Server(
        ["service", "--port", str(PORT), *options], ready, [0], {"DRAIN_GRACE_S": "0"}, log
    ) as server:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(_phases(crowd, load, seconds, turns))
        memory = server.memory_mb
    found = {**load._asdict(), **found, "memory_mb": round(memory)}
    return {**found, "failures": _failures(found, load.deadline_s)}


async def _phases(crowd: Crowd, load: Load, seconds: float, turns: int) -> dict[str, object]:
    peak, clients = max([(await _capacity(crowd, clients), clients) for clients in CLIENTS])
    normal = await crowd.at_rate(NORMAL * peak, NORMAL_S)
    offered = load.times * peak
    print(f"overload: {peak:,.0f} requests a second; now {offered:,.0f} for {seconds:g} s", flush=True)
    good, shots = await _overload(crowd, offered, seconds, load.deadline_s)
    clients_late = _ms(np.array(crowd.late), 0.99)
    after = await crowd.at_rate(NORMAL * peak, NORMAL_S)
    taken, refused, latencies = shots.statuses == 200, shots.statuses == 429, shots.latencies
    found = {
        "offered_per_s": round(len(latencies) / seconds, 1),
        "seconds": seconds,
        "in_time_per_s": round(good, 1),
        "statuses": _counted(shots),
        "accepted_p50_ms": _ms(latencies[taken], 0.5),
        "accepted_p99_ms": _ms(latencies[taken], 0.99),
        "refused_p50_ms": _ms(latencies[refused], 0.5),
        "refused_p99_ms": _ms(latencies[refused], 0.99),
        # The first is the clients' own fault, the second counts the wait for a connection too.
        "clients_late_p99_ms": clients_late,
        "sent_late_p99_ms": _ms(shots.lags, 0.99),
        "connections": crowd.most_connections,
        "normal_p50_ms": _ms(normal.latencies, 0.5),
        "normal_p99_ms": _ms(normal.latencies, 0.99),
        "normal_statuses": _counted(normal),
        "recovered_s": recovered(after, normal, shots.dues.max()),
    }
    return {**found, **await _turns(crowd, load, clients, turns)}


async def _turns(crowd: Crowd, load: Load, clients: int, turns: int) -> dict[str, object]:
    """What is answered in time under overload, as a share of the peaks just before and after."""
    peaks, goods, shares = [await _capacity(crowd, clients)], list[float](), list[float]()
    statuses = Counter[str]()
    for turn in range(turns):
        good, shots = await _overload(crowd, load.times * peaks[-1], TURN_S, load.deadline_s)
        peaks.append(await _capacity(crowd, clients))
        goods.append(good)
        shares.append(good / float(np.mean(peaks[-2:])))
        statuses.update(_counted(shots))
        print(f"turn {turn + 1}: {good:,.0f} in time, {shares[-1]:.2f} of the peaks beside it", flush=True)
    return {
        "turns": turns,
        "turns_statuses": dict(statuses),
        "peaks_per_s": np.round(peaks, 1).tolist(),
        "goodput_per_s": np.round(goods, 1).tolist(),
        "goodput_share": round(float(np.median(shares)), 3),
        "goodput_share_interval": np.round(interval(np.array(shares)), 3).tolist(),
    }


async def _overload(crowd: Crowd, rate: float, seconds: float, deadline_s: float) -> tuple[float, Shots]:
    """Offer so many a second; how many a second were answered in time, and all that was sent."""
    began = time.perf_counter()
    shots = await crowd.at_rate(rate, seconds)
    done = np.array(shots.done) - began
    # What was begun before counts, as what is not finished after does not.
    within = (done > FILL_S) & (done <= seconds)
    in_time = (shots.statuses == 200) & (shots.latencies <= deadline_s)
    return float(np.sum(in_time & within)) / (seconds - FILL_S), shots


async def _capacity(crowd: Crowd, clients: int) -> float:
    """Requests a second that so many clients get answered."""
    await crowd.closed(clients, WARM_S)
    began = time.perf_counter()
    shots = await crowd.closed(clients, CAPACITY_S)
    # Until the last answer: those to what was sent in the last moment come later.
    return float(np.sum(shots.statuses == 200)) / (max(shots.done) - began)


def recovered(after: Shots, normal: Shots, end: float) -> float | None:
    """Seconds from the `end` of the overload until a window is as usual.

    That is: all answered, and half of them within the usual p99.
    """
    usual = np.quantile(normal.latencies, 0.99)
    for start in np.arange(after.dues.min(), after.dues.max(), WINDOW_S):
        window = (after.dues >= start) & (after.dues < start + WINDOW_S)
        if np.all(after.statuses[window] == 200) and np.median(after.latencies[window]) <= usual:
            return round(float(start - end), 3)
    return None


def _failures(found: dict[str, object], deadline_s: float) -> list[str]:
    statuses = Counter[str]()
    for part in ("statuses", "turns_statuses"):
        counts = found[part]
        assert isinstance(counts, dict)
        statuses.update(counts)
    slow, share, late = found["accepted_p99_ms"], found["goodput_share"], found["recovered_s"]
    others = {status: count for status, count in statuses.items() if status not in ("200", "429")}
    return [
        *([f"goodput is {share} of the peak"] if not _below(GOODPUT, share) else []),
        *([f"accepted requests took {slow} ms"] if not _below(slow, deadline_s * 1e3) else []),
        *([f"neither answered nor refused: {others}"] if others else []),
        *([f"it recovered after {late} s"] if not _below(late, RECOVERY_S) else []),
    ]


def _counted(shots: Shots) -> dict[str, int]:
    return {str(status): count for status, count in sorted(Counter(shots.statuses.tolist()).items())}


def _below(value: object, bound: object) -> bool:
    """Whether it is a number, and not above the bound."""
    return isinstance(value, int | float) and isinstance(bound, int | float) and value <= bound


def _ms(seconds: NDArray[np.float64], share: float) -> float | None:
    return round(float(np.quantile(seconds, share)) * 1e3, 2) if len(seconds) else None


def request(model: str, rows: int, deadline_s: float) -> bytes:
    """A request to predict so many rows, with its deadline."""
    body = json.dumps({"instances": instances_of(MODELS[model], rows)}).encode()
    head: Sequence[str] = (
        f"POST /models/{model}/predict HTTP/1.1", "Host: service", f"Content-Type: {JSON}",
        f"Content-Length: {len(body)}", f"Request-Timeout: {deadline_s:g}", "", "",
    )  # fmt: skip
    return "\r\n".join(head).encode() + body


if __name__ == "__main__":
    main()
