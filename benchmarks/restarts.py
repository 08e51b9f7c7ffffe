"""Stops the service by SIGTERM under load, again and again, and counts requests that were lost.

    python -m benchmarks.restarts                   50 restarts, ten minutes
    python -m benchmarks.restarts --restarts 3 --dropping

A request counts as lost when the service has begun with it, which `counted` notes, and its client has no
answer. A refusal with 503, or a connection that nobody accepts, is no loss. Neither is one that the kernel
had queued when the listening ended, and that it resets: nobody has read a byte of it. With --dropping a
service is stopped that leaves without those inside, which has to be noticed.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks.cases import instances_of
from benchmarks.process import Server
from benchmarks.steady import Asked, Outcomes, steady
from service.models import MODELS

PORT = 9141
CLIENTS = 16
GRACE_S = 0.5
LOAD_S = 1.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--output", type=Path, default=Path("runs/soak"), help="folder of the server's log")
    parser.add_argument("--dropping", action="store_true", help="the control")
    arguments = parser.parse_args()
    found = measure(arguments.restarts, arguments.output, arguments.dropping)
    print(json.dumps(found, indent=1))
    if found["failures"]:
        raise SystemExit(1)


def measure(restarts: int, output: Path, dropping: bool = False) -> dict[str, object]:
    """Start and stop it, or the control, so many times, and say what became of the requests."""
    output.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {1})
    outcomes = Outcomes()
    codes: Counter[int] = Counter()
    counts = list[tuple[int, int]]()
    module = "benchmarks.dropping" if dropping else "benchmarks.counted"
    ready = f"http://127.0.0.1:{PORT}/health/ready"
    for number in range(restarts):
        log, begun = output / f"restart-{number}.log", output / "begun"
        begun.unlink(missing_ok=True)
        environment = {"DRAIN_GRACE_S": str(GRACE_S), "MODEL_POLL_S": "0", "BEGUN": str(begun)}
        with Server([module, "--port", str(PORT)], ready, [0], environment, log) as server:
            found = asyncio.run(_restart(server))
            codes[server.process.returncode] += 1
        counts.append((begun.stat().st_size, found.statuses.total()))
        outcomes.statuses += found.statuses
        outcomes.wrong += found.wrong
        outcomes.lost += found.lost
        outcomes.unsent += found.unsent
        print(f"\r{number + 1} of {restarts} restarts ", end="", file=sys.stderr)
    print(file=sys.stderr)
    # Of each start by itself: what one has lost is not made up for by another.
    lost = [begun - answered for begun, answered in counts]
    return {
        "restarts": restarts,
        "clients": CLIENTS,
        "answers": dict(outcomes.statuses),
        "begun_by_the_service": sum(begun for begun, _ in counts),
        "lost": sum(lost),
        "connection_refused": outcomes.unsent,
        "reset_unread": outcomes.lost.total() - sum(lost),
        "exit_codes": dict(codes),
        "failures": _failures(outcomes, lost, codes),
    }


def _failures(outcomes: Outcomes, lost: Sequence[int], codes: Counter[int]) -> list[str]:
    found = []
    if any(lost):
        found.append(f"requests were lost at {sum(map(bool, lost))} of {len(lost)} stops")
    if min(lost, default=0) < 0:
        found.append("more was answered than begun")
    if outcomes.wrong or outcomes.statuses.keys() - {200, 503}:
        found.append("an answer was wrong")
    if set(codes) != {0}:
        found.append("the exit code was not 0")
    return found


async def _restart(server: Server) -> Outcomes:
    url = f"http://127.0.0.1:{PORT}"
    async with steady(url, [_asked(model) for model in MODELS], CLIENTS) as outcomes:
        await asyncio.sleep(LOAD_S)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(server.process.wait, 60)
    return outcomes


def _asked(model: str) -> Asked:
    """Three rows of a model."""
    body = json.dumps({"instances": instances_of(MODELS[model], 3)}).encode()

    def check(response: httpx.Response) -> str | None:
        if response.status_code == 503:
            return None if response.headers.get("retry-after") else "503 without Retry-After"
        return None if len(response.json().get("predictions", [])) == 3 else "not three predictions"

    return Asked(f"/models/{model}/predict", body, check)


if __name__ == "__main__":
    main()
