"""Publishes version after version under load, and looks for lost or mixed answers and for lost memory.

    python -m benchmarks.reloads                    100 reloads, seven minutes
    python -m benchmarks.reloads --leaking          the same service, but it keeps what it should let go

The gate's versions differ in their numbers, odd from even: an answer must be of one version throughout. The
other models take turns with it, and the health checks, which may never fail. Memory is the server's resident
memory once a reload is over.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.cases import instances_of
from benchmarks.process import Server
from benchmarks.steady import Asked, Outcomes, steady
from service.manifest import Manifest
from service.models import MODELS

PORT = 9140
CLIENTS = 16
# Growth is counted from here on: the first reloads find buffers that are not there yet.
SETTLED = 10
ALLOWED = 0.05
PATIENCE_S = 120
GATE = "and_gate"
ROOT = Path(__file__).parent.parent


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--leaking", action="store_true", help="measure the control, which must be caught")
    parser.add_argument("--output", type=Path, default=Path("runs/soak"), help="folder of the server's log")
    arguments = parser.parse_args()
    found = measure(arguments.reloads, arguments.output, arguments.leaking)
    print(json.dumps({name: value for name, value in found.items() if name != "memory_mb"}, indent=1))
    if found["failures"]:
        raise SystemExit(1)


def measure(reloads: int, output: Path, leaking: bool = False) -> dict[str, object]:
    """Serve, publish so many versions, and say what became of the answers and the memory."""
    output.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {1})
    with TemporaryDirectory(prefix="soak-") as folder:
        artifacts = Path(folder, "artifacts")
        seeds = _two_gates(Path(folder))
        for model in MODELS:
            for version in (1, 2):
                publish(artifacts, model, version, seeds)
        module = "benchmarks.leaking" if leaking else "service"
        ready = f"http://127.0.0.1:{PORT}/health/ready"
        environment = {"ARTIFACTS": str(artifacts), "MODEL_POLL_S": "0", "DRAIN_GRACE_S": "0"}
        log = output / ("reloads-leaking.log" if leaking else "reloads.log")
        with Server([module, "--port", str(PORT)], ready, [0], environment, log) as server:
            outcomes, memory = asyncio.run(_reload(server, artifacts, seeds, reloads))
    grown = memory[-1] / memory[min(SETTLED, len(memory)) - 1] - 1
    return {
        "reloads": reloads,
        "clients": CLIENTS,
        "answers": dict(outcomes.statuses),
        "lost": dict(outcomes.lost),
        "unsent": outcomes.unsent,
        "wrong": dict(outcomes.wrong),
        "memory_mb": [round(one, 1) for one in memory],
        "memory_after_10_mb": round(memory[min(SETTLED, len(memory)) - 1], 1),
        "memory_at_the_end_mb": round(memory[-1], 1),
        "grown": round(grown, 4),
        "failures": _failures(outcomes, grown),
    }


def _failures(outcomes: Outcomes, grown: float) -> list[str]:
    found = []
    if set(outcomes.statuses) != {200} or outcomes.lost or outcomes.unsent:
        found.append("a request failed")
    if outcomes.wrong:
        found.append("an answer was not that of one version")
    if grown > ALLOWED:
        found.append(f"the memory grew by more than {ALLOWED:.0%}")
    return found


async def _reload(
    server: Server, artifacts: Path, gates: Sequence[Path], reloads: int
) -> tuple[Outcomes, list[float]]:
    url = f"http://127.0.0.1:{PORT}"
    memory: list[float] = []
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
        asked = [await _asked(client, model) for model in MODELS]
        # They take memory too.
        asked += [Asked(f"/health/{state}", None, lambda _: None) for state in ("live", "ready")]
        async with steady(url, asked, CLIENTS) as outcomes:
            for number in range(reloads):
                model = list(MODELS)[number % len(MODELS)]
                version = 3 + number // len(MODELS)
                publish(artifacts, model, version, gates)
                await client.post("/admin/reload")
                described = (await client.get(f"/models/{model}")).json()
                assert described["version"] == version, described["rejected"]
                shutil.rmtree(artifacts / model / str(version - 2))
                await asyncio.sleep(0.5)
                memory.append(server.memory_mb)
                print(f"\r{number + 1} of {reloads} reloads, {memory[-1]:,.0f} MB ", end="", file=sys.stderr)
    print(file=sys.stderr)
    return outcomes, memory


async def _asked(client: httpx.AsyncClient, model: str) -> Asked:
    """Three rows of a model; an answer must be what the version that it names says, to the last bit."""
    body = json.dumps({"instances": instances_of(MODELS[model], 3)}).encode()
    headers = {"content-type": "application/json"}
    expected = []
    for version in (2, 1):
        path = f"/models/{model}/versions/{version}/predict"
        answer = (await client.post(path, content=body, headers=headers)).json()
        expected.append(answer["predictions"])
    assert model != GATE or expected[0] != expected[1], "the two gates answer alike"

    def check(response: httpx.Response) -> str | None:
        answer = response.json()
        right = answer["predictions"] == expected[answer["version"] % 2]
        return None if right else f"{model} mixed"

    return Asked(f"/models/{model}/predict", body, check)


def publish(artifacts: Path, model: str, version: int, gates: Sequence[Path]) -> None:
    """Publish a version as training does: whole, by a rename. The gate's are of two seeds, in turns."""
    committed = ROOT / "artifacts" / model
    source = gates[version % 2] if model == GATE else max(committed.iterdir(), key=lambda at: int(at.name))
    home = artifacts / model
    partial = Path(shutil.copytree(source, home / f".{version}"))
    Manifest.read(partial).model_copy(update={"version": version}).write(partial)
    partial.rename(home / str(version))


def _two_gates(folder: Path) -> list[Path]:
    """Train two gates whose numbers differ."""
    for seed in (1, 2):
        print(f"training the gate, seed {seed}", file=sys.stderr)
        where = ["--artifacts", str(folder / "gates"), "--runs", str(folder / "runs")]
        chosen = ["--seed", str(seed), "--version", str(seed), "--force"]
        command = [sys.executable, "-m", "training.and_gate", *chosen, *where]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return [folder / "gates" / GATE / "2", folder / "gates" / GATE / "1"]


if __name__ == "__main__":
    main()
