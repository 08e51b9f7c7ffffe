"""Posts JSON that is cheap to send and dear to hold: what each body takes in memory and time, and its status.

    python -m benchmarks.hostile                                       half a minute

One after the other, up to the 40 MiB that a body may have. benchmarks/nasty.py and the tests show which have
to cost next to nothing; docs/security.md says what is not promised, with these figures.
"""

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path

import httpx

from benchmarks.cases import JSON
from benchmarks.process import Server
from service.models import MODELS

PORT = 9170
ROW = json.dumps(dict(MODELS["survival"].example)).encode()
# Of a body of about 40 MB.
MANY = 3_900_000
CLASSIFY, SERVING = "/v1/models/survival:classify", "/v1/models/survival:predict"
NATIVE = "/models/survival/predict"


def main() -> None:
    """Post each body, print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("runs/soak"), help="folder of the server's log")
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    ready = f"http://127.0.0.1:{PORT}/health/ready"
    module = ["service", "--port", str(PORT), "--models", "survival"]
    with (
        Server(module, ready, [0, 1], {}, output / "hostile.log") as server,
        httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=120) as client,
    ):
        for name, path, body in bodies():
            before, began = server.memory_mb, time.perf_counter()
            server.forget_peak()
            status = client.post(path, content=body, headers={"content-type": JSON}).status_code
            seconds, grown = time.perf_counter() - began, server.peak_mb - before
            print(
                f"{name:52} {len(body) / 1e6:5.1f} MB: {status}, {seconds:5.2f} s, + {grown:4.0f} MB",
                flush=True,
            )


def bodies() -> Iterable[tuple[str, str, bytes]]:
    """A name, a path, and the body to post there."""
    yield (
        "a row with a list of empty objects",
        NATIVE,
        b'{"instances":[{"age":[%b{}]}]}' % (b"{}," * 13_000_000),
    )
    yield "the same, of half a million", NATIVE, b'{"instances":[{"age":[%b{}]}]}' % (b"{}," * 500_000)
    yield "a row of keys that all differ", NATIVE, b'{"instances":[{%b}]}' % _keys(MANY)
    yield "options of such keys", NATIVE, b'{"instances":[%b],"parameters":{%b}}' % (ROW, _keys(MANY))
    yield "an envelope of such keys", NATIVE, b'{"instances":[%b],%b}' % (ROW, _keys(MANY))
    yield "rows of one key, which differs", SERVING, b'{"instances":[%b]}' % _rows(1_900_000)
    yield "as many rows of one key as may be", SERVING, b'{"instances":[%b]}' % _rows(99_000)
    yield "a context of 50,000 keys, 2,000 examples", CLASSIFY, _examples(_keys(50_000), 2000)
    yield "a context of 16 keys, 100,000 examples", CLASSIFY, _examples(_keys(16), 100_000)


def _keys(count: int) -> bytes:
    return b",".join(b'"%x":1' % number for number in range(count))


def _rows(count: int) -> bytes:
    return b",".join(b'{"%x":0}' % number for number in range(count))


def _examples(context: bytes, count: int) -> bytes:
    return b'{"context":{%b},"examples":[%b{}]}' % (context, b"{}," * (count - 1))


if __name__ == "__main__":
    main()
