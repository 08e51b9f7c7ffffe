"""Measures what one client and one operator see: start-up, one-row latency, memory.

    scripts/bench                       about twenty seconds; with --graph, TensorFlow alone
    python -m benchmarks.one_client --requests 5000

Starts the real service on a free port of loopback, posts each model's example row over one kept-alive
connection, checks every answer, and prints the figures that the README quotes.
"""

import argparse
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from service.models import MODELS
from service.spec import ModelSpec

WARM_UP = 200


def main() -> None:
    """Start the service, measure, stop it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2000, help="requests for each model")
    requests = parser.parse_args().requests

    began = time.perf_counter()
    process, port = start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        await_ready(connection)
        print(f"start to ready       {time.perf_counter() - began:8.1f} s")
        for spec in MODELS.values():
            print_latency(spec, latencies(connection, spec, requests))
        sent = (WARM_UP + requests) * len(MODELS)
        print(f"memory (resident)    {resident_mb(process.pid):8.0f} MB after {sent:,} requests")
    finally:
        process.send_signal(signal.SIGTERM)
        print(f"exit code            {process.wait(30):8d}")


def start() -> tuple[subprocess.Popen[str], int]:
    """Start the service and return it with the port that it chose."""
    command = [sys.executable, "-m", "service", "--port", "0", "--log-level", "info"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            # The log goes on, and a full pipe would stop the service.
            subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
            return process, int(found[1])
    raise SystemExit("the service did not start")


def await_ready(connection: http.client.HTTPConnection) -> None:
    """Return when /health/ready answers 200; it listens only once it has loaded."""
    connection.request("GET", "/health/ready")
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise SystemExit(f"not ready: {body.decode()}")


def latencies(connection: http.client.HTTPConnection, spec: ModelSpec, requests: int) -> list[float]:
    """Post the example row again and again; return the seconds of each, first byte to last."""
    body = json.dumps({"instances": [dict(spec.example)]})
    headers = {"content-type": "application/json"}
    expected, seconds = b"", []
    for _ in range(WARM_UP + requests):
        began = time.perf_counter()
        connection.request("POST", f"/models/{spec.name}/predict", body, headers)
        answer = connection.getresponse().read()
        seconds.append(time.perf_counter() - began)
        expected = expected or answer
        assert answer == expected, "the same row must get the same answer"
    assert len(json.loads(expected)["predictions"]) == 1
    return seconds[WARM_UP:]


def print_latency(spec: ModelSpec, seconds: list[float]) -> None:
    """Print median and 99th percentile of one model."""
    p99 = statistics.quantiles(seconds, n=100)[98]
    print(f"one row {spec.name:12} {statistics.median(seconds) * 1e3:8.2f} ms median {p99 * 1e3:8.2f} ms p99")


def resident_mb(pid: int) -> float:
    """The resident memory of a process, in MB of 10^6 bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
