"""Compares the service with another checkout's, the floor, or its own JSON, in turns of a quarter second.

    scripts/bench --pairs ../before                                                     two minutes
    scripts/bench --pairs floor --models all --connections 1 64 256                     twenty minutes
    scripts/bench --pairs ../before --models wine_grade --rows 100 --connections 16 64
    scripts/bench --pairs json --models all --rows 6497 --connections 4 --seconds 4     forty minutes

On a machine that others share, minutes differ by a third and quarters of a second by a few per cent: compared
is each turn with the one beside it, of the other server and of the same server with fewer clients. Two
processes of the same code differ by up to 4 %, by where their memory happens to lie, so that both are started
several times. A turn's first answers, and those after it ends, are not counted. Prints, of each start, the
medians of the turns' ratios with their 95 % intervals (bootstrap), and at the end the medians of the starts,
with the lowest and the highest. The servers have one core, wrk the other; every answer is checked.
"""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.cases import BEFORE, CSV, FLOOR, JSON, PORTS, SERVICE, Case, expected_of, load_of
from benchmarks.compare import checkout
from benchmarks.interval import interval
from benchmarks.load import TURN_S, Result, run, run_in_turns
from benchmarks.process import Server
from service.models import MODELS

SERVER_CORE, LOAD_CORE = 0, 1
HEAD = ("model", "clients", "req/s", "of the other", "of fewer clients", "p50 ms", "above the other",
        "p99, of the other's", "not 200")  # fmt: skip


@dataclass(frozen=True)
class Other:
    """What is posted JSON beside the service, which is posted `mine`; of the service itself no `tree`."""

    server: str
    mine: str = JSON
    tree: Path = Path()


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
        "against", type=_other, metavar="TREE",
        help="another checkout, or `floor`, or `json`: this service, which is then posted CSV",
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


def _other(text: str) -> Other:
    """The other side of the comparison."""
    if text == "json":
        return Other(SERVICE, CSV)
    return Other(FLOOR) if text == FLOOR else Other(BEFORE, tree=checkout(text))


def _start(
    model: str, connections: Sequence[int], start: int, asked: argparse.Namespace
) -> tuple[list[Measured], list[Measured]]:
    """What the service and the other gave with each number of clients, in one start of both."""
    other: Other = asked.against
    trees = {SERVICE: Path(), other.server: other.tree}
    expected = expected_of(MODELS[model], asked.rows)
    with ExitStack() as stack:
        # Whoever is started first has other memory.
        for name in list(trees)[:: 1 if start % 2 == 0 else -1]:
            stack.enter_context(_server(name, trees[name], model, asked.output))
        loads = [
            (load_of(Case(model, asked.rows, clients, media), name, expected), clients)
            for clients in connections
            for name, media in ((SERVICE, other.mine), (other.server, JSON))
        ]
        for load, clients in loads:
            # What is done once, of a process or a shape, is no part of the long run.
            run(load, clients, 1, LOAD_CORE)
        found = run_in_turns(loads, asked.turns, LOAD_CORE, asked.seconds)
    measured = [Measured(result, rates) for result, rates in found]
    return measured[::2], measured[1::2]


def _server(name: str, tree: Path, model: str, output: Path) -> Server:
    home, log = f"http://127.0.0.1:{PORTS[name]}", output / f"{name}.log"
    port = ["--port", str(PORTS[name])]
    if name == FLOOR:
        module = ["uvicorn", "benchmarks.floor:app", *port, "--no-access-log", "--log-level", "warning"]
        return Server(module, home, [SERVER_CORE], {}, log)
    module = ["service", *port, "--models", model]
    return Server(module, f"{home}/health/ready", [SERVER_CORE], {}, log, tree)


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
