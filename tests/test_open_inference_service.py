"""The Open Inference Protocol within the service: readiness, keys, shared calls, bounds."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servables import Counting, Held

from infer_requests import binary
from mean_servable import MeanServable
from servers import client_of
from service import keys
from service.app import create_app
from service.limits import Stage
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec

pytestmark = pytest.mark.anyio

GATE, SURVIVAL, WINE = MODELS["and_gate"], MODELS["survival"], MODELS["wine_grade"]
INFER = "/v2/models/and_gate/infer"


async def test_nothing_is_ready_while_a_model_is_missing_or_the_service_leaves() -> None:
    """503, as of /health/ready, and not Triton's 400: it is the server that cannot."""
    own = Registry(MODELS)
    own.add(MeanServable(GATE))
    app = create_app(Settings(), own)
    async with client_of(app) as client:
        assert (await client.get("/v2/health/ready")).status_code == 503
        assert "survival: there is no version" in (await client.get("/v2/health/ready")).json()["error"]
        assert (await client.get("/v2/models/survival/ready")).status_code == 503
        assert (await client.get("/v2/models/and_gate/ready")).json() == {"name": "and_gate", "ready": True}
        assert (await client.get("/v2/models/survival")).json()["versions"] == []

        app.api.state.door.stage = Stage.DRAINING
        assert (await client.get("/v2/health/live")).status_code == 200
        assert (await client.get("/v2/models/and_gate/ready")).status_code == 503


async def test_refusals_before_the_routes_have_the_same_envelope(tmp_path: Path) -> None:
    """A missing key, a closed door, a path that is not there, a method, a body that is too large."""
    own = Registry(MODELS)
    own.add(MeanServable(GATE))
    keys.write(tmp_path / "keys.json", [])
    open_app = create_app(Settings(max_body_bytes=200), own)
    async with client_of(create_app(Settings(api_keys_file=tmp_path / "keys.json"), own)) as client:
        answers = [await client.post(INFER), await client.get("/v2")]
        assert (await client.get("/v2/health/live")).status_code == 200
    async with client_of(open_app) as client:
        answers += [await client.get("/v2/nowhere"), await client.get(INFER)]
        answers += [await client.post(INFER, content=b"0" * 201)]
        open_app.api.state.door.stage = Stage.CLOSED
        answers += [await client.post(INFER)]
        assert (await client.get("/v2/health/live")).status_code == 200

    assert [answer.status_code for answer in answers] == [401, 401, 404, 405, 413, 503]
    for answer in answers:
        assert answer.json().keys() == {"error"}
    assert answers[0].headers["www-authenticate"] == "Bearer"
    assert answers[3].headers["allow"] == "POST"
    assert answers[5].headers["retry-after"]


async def test_rows_share_calls_with_native_ones(spec: ModelSpec) -> None:
    """Thirty requests of two dialects in a few calls, and each gets what it gets alone."""
    servable = Counting(spec)
    registry = Registry(MODELS)
    registry.add(servable)
    row = [feature.code(spec.example[feature.name]) for feature in spec.features]
    asked: list[tuple[str, Any]] = []
    for number in range(15):
        # Each request asks of other rows: a level, a grade, an acidity.
        rows = [[number % 2 if spec is GATE else 1 + number % 8, *row[1:]], row]
        x = {"name": "x", "shape": [2, len(row)], "datatype": "FP64", "data": rows}
        asked.append((f"/v2/models/{spec.name}/infer", {"inputs": [x]}))
        asked.append((f"/models/{spec.name}/predict", {"instances": [dict(spec.example)]}))
    async with client_of(create_app(Settings(), registry)) as client:
        alone = [(await client.post(path, json=body)).json() for path, body in asked]
        servable.calls.clear()
        together = await asyncio.gather(*(client.post(path, json=body) for path, body in asked))
        page = (await client.get("/metrics")).text

    assert [answer.json() for answer in together] == alone
    assert sum(servable.calls) == 45
    assert len(servable.calls) <= 3
    assert f'model_rows_total{{action="infer",model="{spec.name}",version="1"}} 60.0' in page
    assert 'route="/v2/models/{model}/infer"' in page


async def test_rows_of_a_dialect_are_bounded_before_they_are_read() -> None:
    """As many bytes of JSON without a brace, or of numbers, count as the rows that they are."""
    row = [feature.code(WINE.example[feature.name]) for feature in WINE.features]
    rows = np.tile(np.array(row, "<f4"), (4000, 1))
    described = {"name": "x", "shape": [4000, 12], "datatype": "FP32"}
    bodies = [
        {"json": {"inputs": [described | {"data": rows.ravel().tolist()}]}},
        binary(described | {"parameters": {"binary_data_size": rows.nbytes}}, tail=rows.tobytes()),
    ]
    path = "/v2/models/wine_grade/infer"
    for body in bodies:
        registry, held = Registry(MODELS), Held(WINE)
        registry.add(held)
        async with client_of(create_app(Settings(max_waiting_rows=5000), registry)) as client:
            first = asyncio.create_task(client.post(path, **body))
            await asyncio.to_thread(held.begun.wait, 30)
            refused = await client.post(path, **body)
            held.released.set()

            assert refused.status_code == 429
            assert refused.headers["retry-after"]
            assert "error" in refused.json()
            assert (await first).status_code == 200
