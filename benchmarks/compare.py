"""Compares the service with a bare uvicorn application and with a tutorial's service, in one run.

    scripts/bench                                   one model, three rounds: a quarter of an hour
    scripts/bench --models all --connections 64     every model
    scripts/bench --rows 1 --connections 1 64 --seconds 1 --rounds 1       half a minute
    scripts/bench --rows 1 --connections 1 --rounds 20 --against ../before    that of another checkout

They take turns in every round, so that what the machine does besides falls on each of them. The load,
wrk, has a core of its own, the servers the other; every answer is checked, of another checkout the number of
its rows alone. Ratios are medians of the rounds' ratios, and so are differences: beside the floor with its
95 % interval (bootstrap), and beside the same server with the next smaller number of clients. Seconds of a
shared machine differ by a quarter, so that of three rounds little can be told. Writes table, JSON and plot
into --output.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.cases import (
    BEFORE,
    CSV,
    FLOOR,
    JSON,
    PORTS,
    SERVICE,
    TUTORIAL,
    WORKERS,
    Case,
    expected_of,
    load_of,
    newest,
)
from benchmarks.interval import interval
from benchmarks.load import Result, run
from benchmarks.process import Server, settle
from service.models import MODELS


@dataclass(frozen=True)
class Measured:
    """One server's result in one round of a case, with the share of its cores' time that it used."""

    case: Case
    server: str
    round: int
    result: Result
    cpu: float
    memory_mb: float


def main() -> None:
    """Start the servers, measure every case in every round, write what was found."""
    arguments = _arguments()
    models = list(MODELS) if arguments.models == ["all"] else arguments.models
    cases = list(_cases(models, arguments.rows, arguments.connections))
    arguments.output.mkdir(parents=True, exist_ok=True)
    expected = {name: expected_of(MODELS[name], max(arguments.rows)) for name in models}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(server)
            for name, server in _servers(models, arguments, arguments.output)
        }
        started = {name: (server.start_up, server.memory_mb) for name, server in servers.items()}
        print(starts(started))
        found: list[Measured] = []
        for number, case in product(range(arguments.rounds), cases):
            asked = _asked(case, arguments)
            for name in asked if number % 2 else reversed(asked):
                load = load_of(case, name, expected[case.model])
                if number == 0:
                    # What is done once, of a process or a shape, is no part of the long run.
                    run(load, min(case.connections, 4), 1, arguments.load_core)
                server = servers[name if name != TUTORIAL else f"{TUTORIAL} {case.model}"]
                before, began = server.cpu_s, time.perf_counter()
                # Of many clients with many rows each, one round of answers takes seconds.
                seconds = arguments.seconds * (3 if case.rows > 1000 else 1)
                result = run(load, case.connections, seconds, arguments.load_core)
                cpu = (server.cpu_s - before) / (time.perf_counter() - began)
                found.append(Measured(case, name, number, result, cpu, server.memory_mb))
                settle(servers.values())
                print(_line(found[-1]), flush=True)
    text = table(found, {case: _asked(case, arguments) for case in cases}) + "\n" + starts(started)
    print("\n" + text)
    (arguments.output / "compare.md").write_text(text, encoding="utf-8")
    document = {
        "start_up_s": {name: seconds for name, (seconds, _) in started.items()},
        "measured": [asdict(one) for one in found],
    }
    (arguments.output / "compare.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    draw(found, arguments.output / "compare.png")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", nargs="+", default=["survival"], choices=[*MODELS, "all"], metavar="MODEL"
    )
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 100, 6497], help="of one request")
    parser.add_argument(
        "--connections", nargs="+", type=int, default=[1, 16, 64, 256], help="clients at a time"
    )
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--workers", type=int, default=1, help="measure a service of so many too, on the load's core as well"
    )
    parser.add_argument(
        "--against", type=checkout, metavar="TREE", help="measure that checkout's service too, as `before`"
    )
    parser.add_argument("--server-cores", type=int, nargs="+", default=[0])
    parser.add_argument("--load-core", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of what is written")
    return parser.parse_args()


def checkout(text: str) -> Path:
    """A folder that holds a service. Raises ArgumentTypeError."""
    if not Path(text, "service").is_dir():
        raise argparse.ArgumentTypeError("no checkout is there: it has no folder `service`")
    return Path(text)


def _cases(models: Sequence[str], rows: Sequence[int], connections: Sequence[int]) -> Iterator[Case]:
    """JSON at every size, and CSV where a body is large."""
    for model, size, clients in product(models, rows, connections):
        yield Case(model, size, clients)
        if size > 1000:
            yield Case(model, size, clients, CSV)


def _asked(case: Case, arguments: argparse.Namespace) -> list[str]:
    """Who is measured: of CSV our own alone."""
    ours = [SERVICE, *([BEFORE] if arguments.against else []), *([WORKERS] if arguments.workers > 1 else [])]
    return [FLOOR, *ours, TUTORIAL] if case.media == JSON else ours


def _servers(
    models: Sequence[str], arguments: argparse.Namespace, folder: Path
) -> Iterator[tuple[str, Server]]:
    cores = arguments.server_cores
    plain = ["--no-access-log", "--log-level", "warning"]
    for name in (FLOOR, *(f"{TUTORIAL} {model}" for model in models)):
        port = PORTS[FLOOR] if name == FLOOR else PORTS[TUTORIAL] + list(MODELS).index(name.split()[1])
        module = ["uvicorn", f"benchmarks.{name.split()[0]}:app", "--port", str(port), *plain]
        folder_of = {} if name == FLOOR else {"ARTIFACT": str(newest(name.split()[1]))}
        yield name, Server(module, f"http://127.0.0.1:{port}/", cores, folder_of, folder / f"{name}.log")
    # As shipped: with its log of every request.
    ours: list[tuple[str, int, Sequence[int], Path | None]] = [(SERVICE, 1, cores, None)]
    ours += [(BEFORE, 1, cores, arguments.against)] if arguments.against else []
    both = [*cores, arguments.load_core]
    ours += [(WORKERS, arguments.workers, both, None)] if arguments.workers > 1 else []
    for name, workers, on, tree in ours:
        module = ["service", "--port", str(PORTS[name]), "--workers", str(workers)]
        ready = f"http://127.0.0.1:{PORTS[name]}/health/ready"
        yield name, Server(module, ready, on, {}, folder / f"{name}.log", tree)


def starts(started: Mapping[str, tuple[float, float]]) -> str:
    """A row for each server: the seconds until it was ready, and the MB that it then had."""
    lines = [f"| {name} | {seconds:.1f} | {memory:,.0f} |" for name, (seconds, memory) in started.items()]
    return "\n".join(["| server | ready after s | MB |", "|---|---|---|", *lines, ""])


def table(found: Sequence[Measured], asked: Mapping[Case, Sequence[str]]) -> str:
    """A row for each case and server: medians over the rounds, beside others in the same round."""
    head = ("model", "rows", "body", "clients", "server", "req/s", "of floor", "of fewer clients", "p50 ms",
            "above floor", "p99 ms", "of floor", "p99.9 ms", "CPU", "not 200", "MB")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for case, servers in asked.items():
        floor = _results(found, replace(case, media=JSON), FLOOR)
        smaller = [one for one in asked if replace(one, connections=case.connections) == case]
        fewer = max(
            (one for one in smaller if one.connections < case.connections), key=_clients, default=None
        )
        for server in servers:
            rounds = [one for one in found if one.case == case and one.server == server]
            results = [one.result for one in rounds]
            pairs = list(zip(results, floor, strict=True))
            before = _results(found, fewer, server) if fewer else []
            of_floor = [one.per_second / other.per_second for one, other in pairs]
            of_fewer = [
                one.per_second / other.per_second for one, other in zip(results, before, strict=False)
            ]
            refused = sum(one.refused for one in results)
            cells = (
                case.model, f"{case.rows:,}", case.media.split("/")[1], str(case.connections), server,
                f"{_median([one.per_second for one in results]):,.0f}", _spread(of_floor), _spread(of_fewer),
                f"{_median([one.p50 for one in results]):.2f}",
                f"{_median([one.p50 - other.p50 for one, other in pairs]):.2f}",
                f"{_median([one.p99 for one in results]):.2f}",
                f"{_median([one.p99 / other.p99 for one, other in pairs]):.1f}",
                f"{_median([one.p99_9 for one in results]):.2f}",
                f"{_median([one.cpu for one in rounds]):.0%}", str(refused), f"{rounds[-1].memory_mb:,.0f}",
            )  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _results(found: Sequence[Measured], case: Case, server: str) -> list[Result]:
    """What a server gave in each round of a case."""
    return [one.result for one in found if one.case == case and one.server == server]


def _clients(case: Case) -> int:
    return case.connections


def _spread(ratios: Sequence[float]) -> str:
    """The median with its interval: of three rounds the lowest and the highest."""
    if not ratios:
        return ""
    low, high = interval(np.asarray(ratios))
    return f"{_median(ratios):.2f}" + (f" ({low:.2f} to {high:.2f})" if low < high else "")


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _line(one: Measured) -> str:
    case, result = one.case, one.result
    return (
        f"{one.round + 1} {case.model:12} {case.rows:5} {case.media[-4:]} {case.connections:4} {one.server:8}"
        f" {result.per_second:9.1f} req/s {result.p50:9.2f} {result.p99:9.2f} ms {one.cpu:5.0%}"
        f" {result.statuses}" + (f" broken {result.broken}" if result.broken else "")
    )


def draw(found: Sequence[Measured], path: Path) -> None:
    """Throughput and p99 against the number of clients, JSON bodies; a column for each size of a request."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    sizes = sorted({one.case.rows for one in found})
    model = found[0].case.model
    figure, axes = plt.subplots(
        2, len(sizes), figsize=(max(4 * len(sizes), 6), 6.5), squeeze=False, sharex=True
    )
    for column, rows in enumerate(sizes):
        for server in (FLOOR, SERVICE, TUTORIAL):
            mine = [
                one for one in found
                if (one.case.model, one.case.rows, one.case.media, one.server) == (model, rows, JSON, server)
            ]  # fmt: skip
            clients = sorted({one.case.connections for one in mine})
            by_clients = [[one.result for one in mine if one.case.connections == count] for count in clients]
            style = {"marker": "o", "label": server}
            axes[0, column].plot(
                clients, [_median([r.per_second for r in some]) for some in by_clients], **style
            )
            axes[1, column].plot(clients, [_median([r.p99 for r in some]) for some in by_clients], **style)
        axes[0, column].set(title=f"{rows:,} row{'s' if rows > 1 else ''}", xscale="log", yscale="log")
        axes[1, column].set(xscale="log", yscale="log", xlabel="clients at a time")
    axes[0, 0].set_ylabel("requests per second")
    axes[1, 0].set_ylabel("99th percentile of the latency, ms")
    axes[0, 0].legend()
    figure.suptitle(f"{model}: one core for the server, one for the load")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
