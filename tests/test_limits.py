"""Limits that hold before a body is parsed."""

import asyncio
from threading import Event

import pytest

from mean_servable import MeanServable
from rows import refused
from servers import client_of
from service.app import create_app
from service.features import Matrix
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings
from service.tasks import Outputs

pytestmark = pytest.mark.anyio

PREDICT = "/models/and_gate/predict"
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


class Held(MeanServable):
    """A servable that waits in each call until it is released."""

    def __init__(self) -> None:
        super().__init__(MODELS["and_gate"])
        self.begun, self.released = Event(), Event()

    def predict(self, matrix: Matrix) -> Outputs:
        self.begun.set()
        assert self.released.wait(timeout=30)
        return super().predict(matrix)


async def test_more_requests_than_may_be_get_429_and_health_checks_do_not() -> None:
    """They are refused before anything of them is read, and come in again when there is room."""
    servable = Held()
    registry = Registry(MODELS)
    registry.add(servable)
    large = {"instances": GATE["instances"] * 1000}  # computed on a thread, so that the loop can answer
    async with client_of(create_app(Settings(max_concurrent_requests=2), registry)) as client:
        posts = [asyncio.create_task(client.post(PREDICT, json=large)) for _ in range(2)]
        await asyncio.to_thread(servable.begun.wait, 30)
        while client._transport.app.api.state.door.inside < 2:
            await asyncio.sleep(0)

        third = await client.post(PREDICT, content=b"[" * 1000)

        assert refused(third, 429)["type"] == "urn:problem:overloaded"
        assert third.headers["retry-after"]
        for path in ("/health/live", "/metrics"):
            assert (await client.get(path)).status_code == 200
        servable.released.set()
        assert [post.status_code for post in await asyncio.gather(*posts)] == [200, 200]
        assert (await client.post(PREDICT, json=GATE)).status_code == 200
