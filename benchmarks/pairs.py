"""Compares this checkout's service with another's, in turns so short that both meet the same machine.

    scripts/bench --pairs ../before                                                    two minutes
    scripts/bench --pairs ../before --model wine_grade --rows 100 --connections 16 64

On a machine that others share, minutes differ by a third and quarters of a second by a few per cent: what
is compared is each turn with the one beside it. Two processes of the same code differ by up to 4 %, by where
their memory happens to lie, so that both are started several times. Prints, of each start, the median of the
turns' ratios with its 95 % interval (bootstrap), and the median of all. The servers have one core, the
clients, asyncio's, the other.
"""

import argparse
import asyncio
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.compare import checkout
from benchmarks.interval import interval
from benchmarks.openloop import Crowd
from benchmarks.overload import request
from benchmarks.process import Server
from service.models import MODELS

PORTS = (9160, 9161)
TURN_S = 0.25
WARM_S = 0.5
# No answer of a fair comparison is late.
DEADLINE_S = 60


def main() -> None:
    """Start both, measure in turns, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("against", type=checkout, metavar="TREE", help="another checkout")
    parser.add_argument("--model", choices=MODELS, default="wine_grade")
    parser.add_argument("--rows", type=int, default=1, help="of one request")
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 64], help="clients at a time")
    parser.add_argument("--turns", type=int, default=30, help="of each, at each number of clients")
    parser.add_argument("--starts", type=int, default=3, help="of both servers")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of the servers' logs")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {1})
    found: dict[int, list[NDArray[np.float64]]] = {clients: [] for clients in asked.connections}
    for start in range(asked.starts):
        # Whoever is started first has other memory.
        trees = [Path(), asked.against] if start % 2 == 0 else [asked.against, Path()]
        with ExitStack() as stack:
            for tree, port in zip(trees, PORTS, strict=True):
                stack.enter_context(_server(tree, port, asked.model, asked.output))
            ports = PORTS if start % 2 == 0 else PORTS[::-1]
            for clients in asked.connections:
                crowds = [
                    Crowd(port, request(asked.model, asked.rows, DEADLINE_S), clients) for port in ports
                ]
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    seconds = runner.run(_turns(crowds, clients, asked.turns))
                found[clients].append(ratios := seconds[:, 1] / seconds[:, 0])
                low, high = interval(ratios)
                print(
                    f"{asked.model}, {asked.rows:,} rows, {clients} clients, start {start + 1}:"
                    f" {np.median(ratios):.3f} times as fast ({low:.3f} to {high:.3f}),"
                    f" {np.median(seconds[:, 0]) * 1e6:,.0f} us a request",
                    flush=True,
                )
    for clients, starts in found.items():
        every = np.median([np.median(one) for one in starts])
        print(f"{clients} clients, all starts: {every:.3f} times as fast")


def _server(tree: Path, port: int, model: str, output: Path) -> Server:
    module = ["service", "--port", str(port), "--models", model]
    return Server(module, f"http://127.0.0.1:{port}/health/ready", [0], {}, output / f"{port}.log", tree)


async def _turns(crowds: Sequence[Crowd], clients: int, turns: int) -> NDArray[np.float64]:
    """The seconds that each request took of its server in each turn, (turns, servers)."""
    for crowd in crowds:
        await crowd.closed(clients, WARM_S)
    seconds = np.empty((turns, len(crowds)))
    for turn in range(turns):
        places = range(len(crowds)) if turn % 2 == 0 else reversed(range(len(crowds)))
        for place in places:
            shots = await crowds[place].closed(clients, TURN_S)
            if not (shots.statuses == 200).all():
                raise SystemExit("a request was not answered with 200: see the servers' logs")
            seconds[turn, place] = (max(shots.done) - shots.dues.min()) / len(shots.statuses)
    return seconds


if __name__ == "__main__":
    main()
