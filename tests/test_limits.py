"""Limits that hold before a body is parsed."""

import pytest

from servers import client_of
from service.app import create_app
from service.registry import Registry
from service.settings import Settings

pytestmark = pytest.mark.anyio

GATE = {"instances": [{"x1": 1, "x2": 1}]}


async def test_a_body_over_the_limit_is_refused_whether_announced_or_streamed(registry: Registry) -> None:
    """413 comes for a Content-Length that is too large, and for a chunked body as soon as it is too large."""

    async def chunks() -> object:
        for _ in range(100):
            yield b" " * 100

    async with client_of(create_app(Settings(max_body_bytes=1000), registry)) as client:
        headers = {"content-type": "application/json"}
        announced = await client.post("/models/and_gate/predict", content=b" " * 1001, headers=headers)
        streamed = await client.post("/models/and_gate/predict", content=chunks(), headers=headers)
        allowed = await client.post("/models/and_gate/predict", json=GATE)

    assert announced.status_code == streamed.status_code == 413
    assert "1,000 bytes" in announced.json()["detail"]
    assert allowed.status_code == 200
