"""Compares the service with another, or with itself, in turns of a quarter of a second.

    scripts/bench --pairs ../before                                                     two minutes
    scripts/bench --pairs floor --models all --connections 1 64 256                     twenty minutes
    scripts/bench --pairs ../before --models wine_grade --rows 100 --connections 16 64
    scripts/bench --pairs json --models all --rows 6497 --connections 4 --seconds 2.5   half an hour
    scripts/bench --pairs worker --models survival --rows 100 --connections 64          two minutes

On a machine that others share, minutes differ by a third and quarters of a second by a few per cent: compared
is each turn with the one beside it, of the other server and of the same server with fewer clients. Two
processes of the same code differ by up to 4 %, by where their memory happens to lie, so that both are started
several times. Prints, of each start, the medians of the turns' ratios with their 95 % intervals (bootstrap),
and at the end the medians of the starts, with the lowest and the highest. The servers have one core, wrk the
other, but for two workers, of which one has wrk beside it: with 100 rows wrk takes a tenth of a core. Every
answer is checked.
"""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import BEFORE, CSV, FLOOR, JSON, PORTS, SERVICE, WORKERS, Case, expected_of, load_of
from benchmarks.compare import checkout
from benchmarks.interval import interval
from benchmarks.load import TURN_S, Result, run, run_in_turns
from benchmarks.process import Server
from service.models import MODELS

SERVER_CORE, LOAD_CORE = 0, 1
HEAD = ("model", "clients", "req/s", "of the other", "of fewer clients", "p50 ms", "above the other",
        "p99, of the other's", "not 200")  # fmt: skip


@dataclass(frozen=True)
class Side:
    """A server that is compared: what is posted to it, where its code lies, and its processes."""

    server: str
    media: str = JSON
    tree: Path = Path()
    workers: int = 1


SIDES = {
    FLOOR: (Side(SERVICE), Side(FLOOR)),
    "json": (Side(SERVICE, CSV), Side(SERVICE)),
    "worker": (Side(WORKERS, workers=2), Side(SERVICE)),
}


@dataclass(frozen=True)
class Measured:
    """What one start of a server gave with so many clients: wrk's result, and requests per second by turn."""

    result: Result
    rates: NDArray[np.float64]


def main() -> None:
    """Start both, measure in turns, print."""
    asked = _arguments()
    asked.output.mkdir(parents=True, exist_ok=True)
    models = list(MODELS) if asked.models == ["all"] else asked.models
    lines, clients = [], sorted(set(asked.connections))
    for model in models:
        starts = []
        for start in range(asked.starts):
            found = _start(model, clients, start, asked)
            starts.append(rows := _compared(model, clients, *found))
            for row in rows:
                print(f"{start + 1}: {_worded(row)}", flush=True)
        lines += [_worded(_middle(rows)) for rows in zip(*starts, strict=True)]
    text = "\n".join(["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|", *lines, ""])
    (asked.output / "pairs.md").write_text(text, encoding="utf-8")
    print(f"\n{text}", end="")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "against", type=_sides, metavar="TREE",
        help="another checkout, or `floor`; `json`, beside CSV; `worker`, one beside two on both cores",
    )  # fmt: skip
    parser.add_argument(
        "--models", nargs="+", default=["wine_grade"], choices=[*MODELS, "all"], metavar="MODEL"
    )
    parser.add_argument("--rows", type=int, default=1, help="of one request")
    parser.add_argument("--connections", nargs="+", type=int, default=[1, 64], help="clients at a time")
    parser.add_argument("--turns", type=int, default=20, help="of each server with each number of clients")
    parser.add_argument(
        "--seconds", type=float, default=TURN_S, help="of a turn, half of which waits for the last"
    )
    parser.add_argument("--starts", type=int, default=3, help="of both servers")
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of table and logs")
    return parser.parse_args()


def _sides(text: str) -> tuple[Side, Side]:
    """What is compared, and with what."""
    return SIDES.get(text) or (Side(SERVICE), Side(BEFORE, tree=checkout(text)))


def _start(
    model: str, connections: Sequence[int], start: int, asked: argparse.Namespace
) -> tuple[list[Measured], list[Measured]]:
    """What both sides gave with each number of clients, in one start of both."""
    sides: tuple[Side, Side] = asked.against
    expected = expected_of(MODELS[model], asked.rows)
    with ExitStack() as stack:
        servers = list({side.server: side for side in sides}.values())
        # Whoever is started first has other memory.
        for side in servers[:: 1 if start % 2 == 0 else -1]:
            stack.enter_context(_server(side, model, asked.output))
        loads = [
            (load_of(Case(model, asked.rows, clients, side.media), side.server, expected), clients)
            for clients in connections
            for side in sides
        ]
        for load, clients in loads:
            # What is done once, of a process or a shape, is no part of the long run.
            run(load, clients, 1, LOAD_CORE)
        found = run_in_turns(loads, asked.turns, LOAD_CORE, asked.seconds)
    measured = [Measured(result, rates) for result, rates in found]
    return measured[::2], measured[1::2]


def _server(side: Side, model: str, output: Path) -> Server:
    home, log = f"http://127.0.0.1:{PORTS[side.server]}", output / f"{side.server}.log"
    port = ["--port", str(PORTS[side.server])]
    if side.server == FLOOR:
        module = ["uvicorn", "benchmarks.floor:app", *port, "--no-access-log", "--log-level", "warning"]
        return Server(module, home, [SERVER_CORE], {}, log)
    module = ["service", *port, "--models", model, "--workers", str(side.workers)]
    cores = [SERVER_CORE] if side.workers == 1 else [SERVER_CORE, LOAD_CORE]
    return Server(module, f"{home}/health/ready", cores, {}, log, side.tree)


@dataclass(frozen=True)
class Row:
    """A line of the table: of the ratios the median with its interval."""

    model: str
    clients: int
    per_second: float
    of_other: tuple[float, float, float]
    of_fewer: tuple[float, float, float] | None
    p50: float
    above: float
    p99_of_other: float
    refused: int


def _compared(
    model: str, connections: Sequence[int], ours: Sequence[Measured], others: Sequence[Measured]
) -> list[Row]:
    """Return a row for each number of clients, `ours` and `others` in their order."""
    return [
        Row(
            model, clients, float(np.median(mine.rates)), _ratio(mine, theirs),
            _ratio(mine, ours[place - 1]) if place else None, mine.result.p50,
            mine.result.p50 - theirs.result.p50, mine.result.p99 / theirs.result.p99,
            mine.result.refused + theirs.result.refused,
        )
        for place, (clients, mine, theirs) in enumerate(zip(connections, ours, others, strict=True))
    ]  # fmt: skip


def _ratio(one: Measured, other: Measured) -> tuple[float, float, float]:
    ratios = one.rates / other.rates
    return (float(np.median(ratios)), *interval(ratios))


def _middle(rows: Sequence[Row]) -> Row:
    """Return the medians of several starts; of ratios the lowest and the highest start, for an interval."""
    first = rows[0]
    return Row(
        first.model, first.clients, median(row.per_second for row in rows),
        _starts([row.of_other[0] for row in rows]),
        _starts([row.of_fewer[0] for row in rows if row.of_fewer]) if first.of_fewer else None,
        median(row.p50 for row in rows), median(row.above for row in rows),
        median(row.p99_of_other for row in rows), sum(row.refused for row in rows),
    )  # fmt: skip


def _starts(ratios: Sequence[float]) -> tuple[float, float, float]:
    return median(ratios), min(ratios), max(ratios)


def _worded(row: Row) -> str:
    cells = (
        row.model, str(row.clients), f"{row.per_second:,.0f}", _spread(row.of_other), _spread(row.of_fewer),
        f"{row.p50:.2f}", f"{row.above:.2f}", f"{row.p99_of_other:.1f}", str(row.refused),
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _spread(ratio: tuple[float, float, float] | None) -> str:
    return f"{ratio[0]:.3f} ({ratio[1]:.3f} to {ratio[2]:.3f})" if ratio else ""


if __name__ == "__main__":
    main()
