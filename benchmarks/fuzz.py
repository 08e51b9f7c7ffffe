"""Sends what no client should send, and looks for 5xx, for leaked values and for memory that grows.

    python -m benchmarks.fuzz --requests 10000 --seed 0        four minutes

A marker word stands in every place that a caller can write; no answer and no line of the log may hold it.
Three kinds: requests against the OpenAPI document by schemathesis (benchmarks/conformance.py); each path by
each verb and wrong requests by chance, of valid HTTP, and bytes that are almost HTTP
(benchmarks/mutations.py); attacks on memory and time (benchmarks/nasty.py). The same seed sends the same.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from benchmarks import conformance, nasty
from benchmarks.mutations import MARKER, Mutations, encoded, every_verb, places
from benchmarks.process import Server
from service.settings import Settings

PORT = 9130
AT_A_TIME = 16
# After so many requests, the memory is what it will be.
WARM_UP = 1_000
GROWTH_MB = 50
# An answer to a whole request comes within this; after a part of one, nothing for so long is no answer.
ANSWER_S = 30
QUIET_S = 0.3
DECLARED = ("503", "504")
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class Sent(NamedTuple):
    """Bytes to send, and whether they are one whole request, to which an answer is due."""

    data: bytes
    whole: bool


def main() -> None:
    """Start the service, measure, print; the exit code is 1 where a promise is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=10_000, help="beside those of schemathesis")
    parser.add_argument(
        "--examples", type=int, default=10, help="by schemathesis, of each operation; 0: none"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/soak"), help="folder of the server's log")
    arguments = parser.parse_args()
    found = measure(arguments.requests, arguments.seed, arguments.examples, arguments.output)
    print(json.dumps(found, indent=2))
    raise SystemExit(bool(found["failures"]))


def measure(
    requests: int = 10_000, seed: int = 0, examples: int = 10, output: Path = Path("runs/soak")
) -> dict[str, object]:
    """Start the service, send everything; broken promises stand under `failures`."""
    output.mkdir(parents=True, exist_ok=True)
    log = output / "fuzz.log"
    options = ["service", "--port", str(PORT), "--artifacts", str(labelled(output / "artifacts"))]
    url = f"http://127.0.0.1:{PORT}"
    os.sched_setaffinity(0, {1})
    with Server(options, f"{url}/health/ready", [0], {"DRAIN_GRACE_S": "0"}, log) as server:
        tally = Tally()
        warm_up, rest = requests_of(url, requests, seed)
        asyncio.run(send_all(warm_up, tally))
        memory = [server.memory_mb]
        while some := list(islice(rest, WARM_UP)):
            asyncio.run(send_all(some, tally))
            memory.append(server.memory_mb)
            print(f"fuzz: {tally.sent:,} requests, {memory[-1]:.0f} MB, {dict(tally.statuses)}", flush=True)
        stated = conformance.measure(url, examples, seed) if examples else {}
        memory.append(server.memory_mb)
        attacked = nasty.measure(PORT, server.process.pid, "/models/and_gate/predict", Settings(port=PORT))
        alive = still_ready(url)
    lines, growth = log.read_bytes(), memory[-1] - memory[0]
    found: dict[str, object] = {
        "requests": tally.sent,
        "seconds": round(tally.seconds, 1),
        "statuses": dict(sorted(tally.statuses.items())),
        "unanswered_parts": tally.unanswered,
        "plain_refusals": tally.plain,
        "schemathesis": stated,
        "nasty": attacked,
        "leaks_in_answers": tally.leaks,
        "leaks_in_log": lines.lower().count(MARKER.encode()),
        "log_lines": lines.count(b"\n"),
        "memory_mb": [round(one, 1) for one in memory],
        "memory_growth_mb": round(growth, 1),
    }
    failures = [
        *tally.failures,
        *_failures_of(stated),
        *_failures_of(attacked),
        *([f"the log holds the marker, see {log}"] if found["leaks_in_log"] else []),
        *([f"the log holds a traceback, see {log}"] if b"Traceback" in lines else []),
        *([f"memory grew by {growth:.0f} MB"] if growth > GROWTH_MB else []),
        *([] if alive else ["it was not ready any more"]),
    ]
    return {**found, "failures": failures}


def _failures_of(part: dict[str, object]) -> list[str]:
    failures = part.get("failures", [])
    assert isinstance(failures, list)
    return failures


def labelled(folder: Path) -> Path:
    """A copy of the repository's artifacts in which every model has the label `stable`."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree("artifacts", folder)
    for model in folder.iterdir():
        newest = max(int(version.name) for version in model.iterdir() if version.name.isdigit())
        (model / "labels.json").write_text(json.dumps({"stable": newest}))
    return folder


def requests_of(url: str, count: int, seed: int) -> tuple[list[Sent], Iterator[Sent]]:
    """Those to warm up with, and the rest: each path by each verb, wrong and broken ones by turns."""
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        operations = places(json.load(answer))
    values = conformance.places(url)
    mutations = Mutations(operations, values, seed)

    def supply() -> Iterator[Sent]:
        by_verb = every_verb(operations, values)
        while True:
            for request in islice(by_verb, 1):
                yield Sent(encoded(request), True)
            yield Sent(encoded(mutations.request()), True)
            yield Sent(mutations.raw(), False)

    every = islice(supply(), count)
    return list(islice(every, WARM_UP)), every


class Tally:
    """What came back."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.statuses: Counter[str] = Counter()
        self.sent = self.unanswered = self.plain = self.leaks = 0
        self.seconds = 0.0
        self.failures: list[str] = []

    def note(self, sent: Sent, answer: bytes) -> None:
        """Count an answer, and judge it."""
        self.sent += 1
        statuses = [status.decode() for status in STATUS.findall(answer)]
        self.statuses.update(statuses)
        if not statuses:
            self.unanswered += 1
            if sent.whole:
                self._fail("no answer", sent)
        if any(status >= "500" and status not in DECLARED for status in statuses):
            self._fail("5xx", sent)
        if MARKER.encode() in answer.lower():
            self.leaks += 1
            self._fail("the marker came back", sent)
        head, _, _ = answer.partition(b"\r\n\r\n")
        if (
            sent.whole
            and statuses
            and statuses[0] >= "400"
            and b"application/problem+json" not in head.lower()
        ):
            self.plain += 1

    def _fail(self, what: str, sent: Sent) -> None:
        if len(self.failures) < 20:
            self.failures.append(f"{what}: {sent.data[:2000]!r}")


async def send_all(requests: Sequence[Sent], tally: Tally) -> None:
    """Send each on a connection of its own, some at a time."""
    began, supply = time.perf_counter(), iter(requests)

    async def send_some() -> None:
        for one in supply:
            tally.note(one, await answer_to(one))

    await asyncio.gather(*(send_some() for _ in range(AT_A_TIME)))
    tally.seconds += time.perf_counter() - began


async def answer_to(sent: Sent) -> bytes:
    """All that comes back until the connection is closed, or nothing comes any more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    answer = b""
    try:
        writer.write(sent.data)
        while part := await asyncio.wait_for(reader.read(2**16), ANSWER_S if sent.whole else QUIET_S):
            answer += part
    except (TimeoutError, ConnectionResetError, BrokenPipeError):
        pass
    finally:
        writer.transport.abort()
    return answer


def still_ready(url: str) -> bool:
    """Whether the service says that it is."""
    with urllib.request.urlopen(f"{url}/health/ready") as answer:
        return bool(answer.status == 200)


if __name__ == "__main__":
    main()
