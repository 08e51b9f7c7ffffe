"""KServe's and MLServer's clients, as they are installed: only the address is ours (scripts/clients-test)."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from test_dialects import native_json, native_numbers

from servers import ROOT, Server
from service.models import MODELS
from service.spec import ModelSpec


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def rows(spec: ModelSpec) -> list[dict[str, Any]]:
    """The example, and one that differs from it in a feature."""
    last = spec.features[-1]
    levels = list(last.levels) or [last.low, last.high]
    other = next(level for level in levels if level != spec.example[last.name])
    return [dict(spec.example), dict(spec.example) | {last.name: other}]


def asked(client: str, server: Server, bodies: dict[str, Any]) -> list[Any]:
    """What the client's program was answered: a model with its outputs, for each way of asking."""
    program = [str(ROOT / f".venv-{client}/bin/python"), str(ROOT / f"tests/clients/with_{client}.py")]
    run = subprocess.run(
        [*program, server.url], input=json.dumps(bodies), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return list(json.loads(run.stdout))


def agree(server: Server, answers: list[Any], ways: int) -> None:
    """Assert that every model was asked in as many ways, and answered as natively to the last bit."""
    assert [model for model, _ in answers] == [model for model in MODELS for _ in range(ways)]
    for model, found in answers:
        spec = MODELS[model]
        request = native_json(spec, rows(spec))
        native = native_numbers(spec, httpx.post(server.url + request.pop("url"), **request))
        assert found.keys() == native.keys()
        for name, numbers in found.items():
            assert np.asarray(numbers, np.float32).tobytes() == native[name].tobytes(), (model, name)


def test_kserves_client_is_answered(server: Server) -> None:
    """Liveness, readiness, and every model: sent as JSON and as bytes, asked for as either."""
    bodies = {
        name: [[feature.code(row[feature.name]) for feature in spec.features] for row in rows(spec)]
        for name, spec in MODELS.items()
    }

    agree(server, asked("kserve", server, bodies), ways=4)


def test_mlservers_client_is_answered(server: Server) -> None:
    """A frame by its own codec, a tensor for each column: levels as texts, flags as booleans."""
    bodies = {name: rows(spec) for name, spec in MODELS.items()}

    agree(server, asked("mlserver", server, bodies), ways=2)
