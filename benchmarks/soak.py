"""Everything that takes long and must not break: reloads, restarts, fuzzing, overload; and two controls.

    scripts/soak                                    all of it, forty minutes on two cores
    scripts/soak reloads restarts --reloads 20 --restarts 5

Each part ends with its figures and with what broke a promise; all of them are kept as JSON. The exit code
is 1 if anything did. docs/reliability.md quotes the last whole run.
"""

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from benchmarks import fuzz, overload, reloads, restarts

# Stops of the service that drops requests: each of them has to be noticed.
DROPS = 3
PARTS: dict[str, Callable[[argparse.Namespace], dict[str, object]]] = {
    "reloads": lambda asked: reloads.measure(asked.reloads, asked.output),
    "leak": lambda asked: caught(reloads.measure(asked.reloads, asked.output, leaking=True), "memory"),
    "restarts": lambda asked: restarts.measure(asked.restarts, asked.output),
    "drop": lambda asked: caught(
        restarts.measure(DROPS, asked.output, dropping=True), f"lost at {DROPS} of {DROPS}"
    ),
    "fuzz": lambda asked: fuzz.measure(asked.requests, output=asked.output),
    "overload": lambda asked: overload.measure(overload.Load(), asked.seconds, asked.output),
}


def main() -> None:
    """Measure part after part, print, keep, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", type=_part, help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--restarts", type=int, default=50)
    parser.add_argument("--requests", type=int, default=10_000, help="to fuzz with, beside schemathesis' own")
    parser.add_argument("--seconds", type=float, default=60, help="of overload")
    parser.add_argument("--output", type=Path, default=Path("runs/soak"), help="folder of logs and figures")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    figures = asked.output / "soak.json"
    found: dict[str, dict[str, object]] = json.loads(figures.read_text()) if figures.exists() else {}
    parts = asked.parts or list(PARTS)
    for part in parts:
        print(f"== soak: {part}", flush=True)
        found[part] = {"when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "machine": machine()}
        found[part] |= PARTS[part](asked)
        print(json.dumps({key: value for key, value in found[part].items() if key != "memory_mb"}, indent=1))
        figures.write_text(json.dumps(found, indent=1) + "\n")
    if {"reloads", "leak"} <= found.keys():
        draw(found, asked.output / "reloads.png")
    if any(found[part]["failures"] for part in parts):
        raise SystemExit(1)


def _part(text: str) -> str:
    if text not in PARTS:
        raise argparse.ArgumentTypeError(f"the parts are {', '.join(PARTS)}")
    return text


def caught(control: dict[str, object], fault: str) -> dict[str, object]:
    """What is promised of a control: that its own fault, by some of its words, fails, and nothing else."""
    seen = control["failures"]
    right = isinstance(seen, list) and len(seen) == 1 and fault in seen[0]
    return control | {"failures": [] if right else [f"the control was not caught: {seen}"], "caught": seen}


def machine() -> str:
    """The processor, as Linux names it, and the number of cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def draw(found: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the memory after each reload, of the service and of the control."""
    figure, axes = plt.subplots(figsize=(7, 3.5))
    for part, label in (("reloads", "the service"), ("leak", "a version that leaks, for control")):
        axes.plot(found[part]["memory_mb"], label=label)
    axes.set(xlabel="reloads under load", ylabel="resident memory, MB")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
