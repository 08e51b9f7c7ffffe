"""Offers three times what the service can answer: what it still answers, and when it is itself again.

    python -m benchmarks.overload                              100 rows of wine_grade a request: two minutes
    python -m benchmarks.overload --rows 1 --seconds 10
    python -m benchmarks.overload --seconds 10 --concurrent 1000 256 64

First the peak, of clients each of which waits for its answer; then half of it, for what is normal; then three
times of it, sent at fixed times (benchmarks/openloop.py); then half of it again, and the peak once more:
what is answered is compared with the mean of the two, as machines get faster and slower within minutes. The
service has one core, the clients the other. Requests have a deadline, told by Request-Timeout.
"""

import argparse
import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.compare import JSON, instances_of
from benchmarks.openloop import Crowd, Shots
from benchmarks.process import Server
from service.models import MODELS

PORT = 9150
CLIENTS = (16, 64)
CAPACITY_S = 4
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
    parser.add_argument("--times", type=float, default=3, help="of the capacity")
    parser.add_argument("--deadline", type=float, default=1, help="seconds")
    parser.add_argument("--concurrent", nargs="*", type=int, help="values of --max-concurrent-requests")
    parser.add_argument("--output", type=Path, default=Path("runs/soak"), help="folder of the server's log")
    asked = parser.parse_args()
    broken = False
    for concurrent in asked.concurrent or [None]:
        found = measure(
            asked.seconds, asked.output, asked.model, asked.rows, asked.times, asked.deadline, concurrent
        )
        print(json.dumps(found, indent=1), flush=True)
        broken = broken or bool(found["failures"])
    raise SystemExit(broken)


def measure(
    seconds: float = 60,
    output: Path = Path("runs/soak"),
    model: str = "wine_grade",
    rows: int = 100,
    times: float = 3,
    deadline_s: float = 1,
    concurrent: int | None = None,
) -> dict[str, object]:
    """Start the service, load it, judge; broken promises stand under `failures`."""
    output.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {1})
    options = [] if concurrent is None else ["--max-concurrent-requests", str(concurrent)]
    ready = f"http://127.0.0.1:{PORT}/health/ready"
    log = output / f"overload-{rows}.log"
    crowd = Crowd(PORT, request(model, rows, deadline_s), (concurrent or 1000) + SPARE_CONNECTIONS)
    with Server(
        ["service", "--port", str(PORT), *options], ready, [0], {"DRAIN_GRACE_S": "0"}, log
    ) as server:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(_phases(server, crowd, seconds, times, deadline_s))
        memory = server.memory_mb
    workload = {"model": model, "rows": rows, "max_concurrent_requests": concurrent or "default"}
    found = {**workload, **found, "memory_mb": round(memory)}
    return {**found, "failures": _failures(found, deadline_s)}


async def _phases(
    server: Server, crowd: Crowd, seconds: float, times: float, deadline_s: float
) -> dict[str, object]:
    first = await _peak(server, crowd)
    normal = await crowd.at_rate(NORMAL * first[0], NORMAL_S)
    offered = times * first[0]
    print(f"overload: {first[0]:,.0f} requests a second; now {offered:,.0f} for {seconds:g} s", flush=True)
    used, began = server.cpu_s, time.perf_counter()
    shots = await crowd.at_rate(offered, seconds)
    used, lasted = server.cpu_s - used, time.perf_counter() - began
    clients_late = _ms(np.array(crowd.late), 0.99)
    after = await crowd.at_rate(NORMAL * first[0], NORMAL_S)
    peaks = np.array([first, await _peak(server, crowd)])
    peak, peak_cpu = peaks.mean(axis=0)
    taken, refused = shots.statuses == 200, shots.statuses == 429
    latencies, in_time = shots.latencies, shots.latencies <= deadline_s
    # What was answered while it was offered; the rest of the queue comes free.
    within = np.array(shots.done) <= began + seconds
    good = float(np.sum(taken & in_time & within)) / seconds
    return {
        "peaks_per_s": peaks[:, 0].round(1).tolist(),
        "offered_per_s": round(len(latencies) / seconds, 1),
        "seconds": seconds,
        "goodput_per_s": round(good, 1),
        "goodput_share": round(float(good / peak), 3),
        # Less than 1 where others had the core as well; then the share by CPU time says more.
        "peak_cpu": round(float(peak_cpu), 2),
        "cpu": round(used / lasted, 2),
        "goodput_share_by_cpu": round(float(good / peak * peak_cpu) / (used / lasted), 3),
        "statuses": {
            str(status): count for status, count in sorted(Counter(shots.statuses.tolist()).items())
        },
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
        "normal_statuses": {
            str(status): count for status, count in Counter(normal.statuses.tolist()).items()
        },
        "recovered_s": recovered(after, normal),
    }


async def _peak(server: Server, crowd: Crowd) -> tuple[float, float]:
    """The most requests a second of any number of clients, and the share of the core that they took."""
    return max([await _capacity(server, crowd, clients) for clients in CLIENTS])


async def _capacity(server: Server, crowd: Crowd, clients: int) -> tuple[float, float]:
    """Requests a second that so many clients get answered, and the share of its core that this took."""
    await crowd.closed(clients, 0.5)
    used, began = server.cpu_s, time.perf_counter()
    shots = await crowd.closed(clients, CAPACITY_S)
    # Until the last answer: those to what was sent in the last moment come later.
    lasted = max(shots.done) - began
    return float(np.sum(shots.statuses == 200)) / lasted, (server.cpu_s - used) / lasted


def recovered(after: Shots, normal: Shots) -> float | None:
    """Seconds until a window is as usual: all answered, and half of them within the usual p99."""
    usual = np.quantile(normal.latencies, 0.99)
    since = after.dues - after.dues.min()
    for start in np.arange(0, NORMAL_S, WINDOW_S):
        window = (since >= start) & (since < start + WINDOW_S)
        if np.all(after.statuses[window] == 200) and np.median(after.latencies[window]) <= usual:
            return float(start)
    return None


def _failures(found: dict[str, object], deadline_s: float) -> list[str]:
    statuses = found["statuses"]
    assert isinstance(statuses, dict)
    slow, share, late = found["accepted_p99_ms"], found["goodput_share"], found["recovered_s"]
    others = {status: count for status, count in statuses.items() if status not in ("200", "429")}
    return [
        *([f"goodput is {share} of the peak"] if not _below(GOODPUT, share) else []),
        *([f"accepted requests took {slow} ms"] if not _below(slow, deadline_s * 1e3) else []),
        *([f"neither answered nor refused: {others}"] if others else []),
        *([f"it recovered after {late} s"] if not _below(late, RECOVERY_S) else []),
    ]


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
