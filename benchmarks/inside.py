"""Compares what a request takes inside the process, in this checkout and in another, in short turns.

    scripts/bench --inside ../before                                       a minute
    scripts/bench --inside ../before --model wine_grade --clients 1 64 256

Both services are built in one process, one after the other under the same names: so they share its core, its
heap and TensorFlow, and one per cent can be told, where two processes of the same code differ by four. The
clients are uvicorn's protocols: bytes are handed to them and taken from them, and no socket is there.
Whichever is built last answers about one per cent sooner; each is so once, in a process of its own, and the
two ratios' geometric mean is what is told.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.cases import instances_of
from benchmarks.compare import checkout
from benchmarks.interval import interval
from service.models import MODELS

# Requests of each service in a turn.
TURN = 512
WARM = 10_000
HEAD = (
    "POST /models/{}/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    "Content-Length: {}\r\n\r\n"
)


class Wire(asyncio.Transport):
    """The connection of a client that counts its answers in `crowd`."""

    def __init__(self, crowd: "Crowd") -> None:
        """Answer for one client of this crowd."""
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self._crowd = crowd

    def write(self, data: Any) -> None:
        """Take an answer, which comes in one piece."""
        self._crowd.answered(data.startswith(b"HTTP/1.1 200"))

    def is_closing(self) -> bool:
        """Never."""
        return False

    def can_write_eof(self) -> bool:
        """Nobody asks for it."""
        return False

    def get_write_buffer_size(self) -> int:
        """All is read at once."""
        return 0

    def pause_reading(self) -> None:
        """All has come."""

    def resume_reading(self) -> None:
        """All has come."""

    def close(self) -> None:
        """Nobody closes it."""


class Crowd:
    """Clients of one service, who ask all at once, and again when all are answered."""

    def __init__(self, model: str, body: bytes) -> None:
        """Ask for predictions of this model with this body."""
        self._request = HEAD.format(model, len(body)).encode() + body
        self._clients: list[Any] = []
        self._left = 0
        self._well = True
        self._whole = asyncio.Event()

    async def build(self, tree: Path, clients: int) -> None:
        """Build the service of a checkout, and connect so many clients."""
        for name in [name for name in sys.modules if name.partition(".")[0] == "service"]:
            del sys.modules[name]
        os.chdir(tree)
        sys.path.insert(0, str(tree))
        try:
            from uvicorn import Config
            from uvicorn.lifespan.on import LifespanOn
            from uvicorn.server import ServerState

            from service.__main__ import create_app
            from service.connection import BoundedProtocol
        finally:
            sys.path.remove(str(tree))
        assert Path(sys.modules["service"].__file__ or "").parent == tree / "service"
        config = Config(create_app(), access_log=False, log_config=None, proxy_headers=False, ws="none")
        config.load()
        lifespan = LifespanOn(config)
        await lifespan.startup()
        if lifespan.should_exit:
            raise SystemExit(f"the service of {tree} does not start")
        state = ServerState()
        state.default_headers = [(b"date", b"Sat, 28 Nov 2026 00:00:00 GMT")]
        self._clients = [BoundedProtocol(config, state, {}) for _ in range(clients)]
        for client in self._clients:
            client.connection_made(Wire(self))

    def answered(self, well: bool) -> None:
        """Count an answer, which is of 200 or not."""
        self._well &= well
        self._left -= 1
        if not self._left:
            self._whole.set()

    async def ask(self, requests: int) -> float:
        """The seconds that each of about so many requests took."""
        rounds = -(-requests // len(self._clients))
        began = time.perf_counter()
        for _ in range(rounds):
            self._whole.clear()
            self._left = len(self._clients)
            for client in self._clients:
                client.data_received(self._request)
            await self._whole.wait()
        # Not where it is noticed: there the service would answer that it has failed.
        if not self._well:
            raise SystemExit("a request was not answered with 200")
        return (time.perf_counter() - began) / rounds / len(self._clients)


def main() -> None:
    """Measure both orders, or, as their child, one of them; print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("against", type=checkout, metavar="TREE", help="another checkout")
    parser.add_argument("--model", choices=MODELS, default="wine_grade")
    parser.add_argument("--clients", nargs="+", type=int, default=[64], help="at a time")
    parser.add_argument("--turns", type=int, default=300, help="of each")
    parser.add_argument("--order", choices=("here", "there"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.order:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps(runner.run(measured(asked))), flush=True)
            os._exit(0)  # without the ends of two services, which are not what is measured
    for clients in asked.clients:
        found = [_of_child(asked, clients, order) for order in ("here", "there")]
        ratio = np.prod([one["ratio"] for one in found]) ** 0.5
        for one in found:
            print(
                f"{asked.model}, {clients} clients, built first {one['first']}: {one['there_us']:.1f} us a"
                f" request there, {one['here_us']:.1f} here; here {one['ratio']:.3f} of there"
                f" ({one['low']:.3f} to {one['high']:.3f})"
            )
        print(f"{asked.model}, {clients} clients: a request takes {ratio:.3f} of the time", flush=True)


async def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """The medians of both and of the turns' ratios, here to there, with its 95 % interval."""
    os.sched_setaffinity(0, {0})
    # Every request is logged, as shipped.
    log = logging.getLogger("service.access")
    log.addHandler(logging.FileHandler(os.devnull))
    log.setLevel(logging.INFO)
    body = json.dumps({"instances": instances_of(MODELS[asked.model], 1)}).encode()
    trees = {"here": Path.cwd(), "there": asked.against.resolve()}
    (clients,) = asked.clients
    crowds = {name: Crowd(asked.model, body) for name in trees}
    for name in sorted(trees, reverse=asked.order == "there"):
        await crowds[name].build(trees[name], clients)
    gc.collect()
    gc.freeze()
    for crowd in crowds.values():
        await crowd.ask(WARM)
    seconds: NDArray[np.float64] = np.empty((asked.turns, 2))
    for turn in range(asked.turns):
        for place in (0, 1) if turn % 2 else (1, 0):
            crowd = crowds["here" if place else "there"]
            await crowd.ask(1)  # its code and its clients come into the cache again
            seconds[turn, place] = await crowd.ask(TURN)
    ratios = seconds[:, 1] / seconds[:, 0]
    low, high = interval(ratios)
    there, here = np.median(seconds, axis=0) * 1e6
    said = {"first": asked.order, "there_us": there, "here_us": here}
    return said | {"ratio": float(np.median(ratios)), "low": low, "high": high}


def _of_child(asked: argparse.Namespace, clients: int, order: str) -> dict[str, Any]:
    """What a process of its own measures, in which the service of `order` is built first."""
    command: Sequence[str] = [
        sys.executable, "-m", "benchmarks.inside", str(asked.against), "--model", asked.model,
        "--clients", str(clients), "--turns", str(asked.turns), "--order", order,
    ]  # fmt: skip
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        command, env={**os.environ, **threads, "MODELS": asked.model}, capture_output=True, text=True
    )
    if child.returncode:
        raise SystemExit(child.stderr or child.stdout)
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
