"""Servables of arithmetic that note, wait or fail, and an app that serves one; by default the AND gate."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Event

import httpx

from mean_servable import MeanServable
from servers import client_of
from service.app import create_app
from service.errors import ModelFailure
from service.features import Matrix
from service.inference import CALL_ROWS
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec
from service.tasks import Outputs

GATE = MODELS["and_gate"]
ROW = {"x1": 1, "x2": 1}
PREDICT = "/models/and_gate/predict"
# So many rows are computed on a thread, in two calls.
BESIDE = CALL_ROWS + 1


class Counting(MeanServable):
    """A servable that notes the rows of each call."""

    def __init__(self, spec: ModelSpec = GATE) -> None:
        super().__init__(spec)
        self.calls: list[int] = []

    def predict(self, matrix: Matrix) -> Outputs:
        self.calls.append(len(matrix))
        return super().predict(matrix)


class Held(Counting):
    """A servable that waits in each call until it is released."""

    def __init__(self, spec: ModelSpec = GATE) -> None:
        super().__init__(spec)
        self.begun, self.released = Event(), Event()

    def predict(self, matrix: Matrix) -> Outputs:
        self.calls.append(len(matrix))
        self.begun.set()
        assert self.released.wait(timeout=30)
        return MeanServable.predict(self, matrix)


class Picky(MeanServable):
    """A servable that fails where a row is 0, 0."""

    def predict(self, matrix: Matrix) -> Outputs:
        if not matrix.any(axis=1).all():
            raise ModelFailure("and_gate/1: the graph answered a non-finite number")
        return super().predict(matrix)


@asynccontextmanager
async def serving(servable: MeanServable, **settings: object) -> AsyncIterator[httpx.AsyncClient]:
    registry = Registry(MODELS)
    registry.add(servable)
    async with client_of(create_app(Settings(**settings), registry)) as client:
        yield client


def rows(count: int) -> dict[str, object]:
    return {"instances": [ROW] * count}
