"""Measures what a client with few rows notices of one with many, and what a hundred thousand rows take.

    scripts/bench --beside                          a minute
    python -m benchmarks.beside --model wine_grade --seconds 20

The peak of the resident memory above idle for 100,000 rows of CSV, to predict and to evaluate. Then, while
one client posts large bodies without a pause, another asks for its health and for one row, in turns: their
latencies. The service has one core and the clients another.
"""

import argparse
import http.client
import json
import os
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.cases import CSV, JSON, instances_of
from benchmarks.process import Server
from service.models import MODELS
from service.spec import ModelSpec

PORT = 9120
WARM_UP = 50


def main() -> None:
    """Start the service, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS, default="survival")
    parser.add_argument("--rows", nargs="+", type=int, default=[10_000, 100_000], help="of a large body")
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of the server's log")
    arguments = parser.parse_args()
    spec = MODELS[arguments.model]
    arguments.output.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {1})
    ready = f"http://127.0.0.1:{PORT}/health/ready"
    log = arguments.output / "beside.log"
    with Server(["service", "--port", str(PORT)], ready, [0], {}, log) as server:
        # First, as memory that large bodies took is kept for the next ones.
        for action in ("predict", "evaluate"):
            idle = server.memory_mb
            server.forget_peak()
            post(connection(), spec, action, CSV, csv(spec, 100_000, action))
            above = server.peak_mb - idle
            print(f"100,000 rows of CSV to {action}: {above:4.0f} MB above the idle {idle:,.0f} MB")
        report("nobody", *latencies(spec, arguments.seconds))
        for rows in arguments.rows:
            with streaming(spec, rows) as answered:
                found = latencies(spec, arguments.seconds)
            report(f"{rows:,} rows, {len(answered)} times", *found)


def connection() -> http.client.HTTPConnection:
    """A connection to the service."""
    return http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)


def post(client: http.client.HTTPConnection, spec: ModelSpec, action: str, media: str, body: bytes) -> bytes:
    """Post a body and return the answer, which has to be one."""
    client.request("POST", f"/models/{spec.name}/{action}", body, {"Content-Type": media})
    response = client.getresponse()
    answer = response.read()
    assert response.status == 200, answer[:200]
    return answer


def latencies(spec: ModelSpec, seconds: float) -> tuple[list[float], list[float]]:
    """The milliseconds of health checks and of requests of one row, in turns."""
    client = connection()
    row = json.dumps({"instances": instances_of(spec, 1)}).encode()
    health: list[float] = []
    single: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(single) < 2 * WARM_UP:
        began = time.perf_counter()
        client.request("GET", "/health/live")
        client.getresponse().read()
        between = time.perf_counter()
        post(client, spec, "predict", JSON, row)
        health.append((between - began) * 1e3)
        single.append((time.perf_counter() - between) * 1e3)
    return health[WARM_UP:], single[WARM_UP:]


@contextmanager
def streaming(spec: ModelSpec, rows: int) -> Iterator[list[int]]:
    """Post bodies of so many rows on a thread, one after another; the list grows with each answer."""
    body = json.dumps({"instances": instances_of(spec, rows)}).encode()
    answered: list[int] = []
    stop = threading.Event()

    def stream() -> None:
        client = connection()
        while not stop.is_set():
            answered.append(len(post(client, spec, "predict", JSON, body)))

    with ThreadPoolExecutor(1) as pool:
        streamed = pool.submit(stream)
        yield answered
        stop.set()
        streamed.result()  # what failed there fails here


def csv(spec: ModelSpec, rows: int, action: str) -> bytes:
    """So many rows of CSV, with their targets where they are evaluated."""
    target = {spec.target.name: spec.example_target} if action == "evaluate" else {}
    lines = [",".join(map(str, {**one, **target}.values())) for one in instances_of(spec, rows)]
    return "\n".join([",".join([*spec.example, *target]), *lines, ""]).encode()


def report(beside: str, health: list[float], single: list[float]) -> None:
    """Print a line for each kind of request."""
    for kind, times in (("health", health), ("one row", single)):
        low, high = np.quantile(times, [0.99, 0.999])
        print(
            f"{kind:8} beside {beside:24} median {statistics.median(times):6.2f} ms"
            f"   p99 {low:6.2f} ms   p99.9 {high:6.2f} ms   of {len(times):,}"
        )


if __name__ == "__main__":
    main()
