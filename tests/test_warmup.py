"""What is done before the service is ready, so that the first request is no slower than the later ones."""

import logging

import pytest

from mean_servable import MeanServable
from service.actions import actions
from service.engine import Engine
from service.errors import ModelFailure
from service.features import Matrix
from service.models import MODELS
from service.registry import Registry
from service.spec import ModelSpec
from service.tasks import Outputs
from service.warmup import TIMES, warm_up

pytestmark = pytest.mark.anyio


class Noting(MeanServable):
    """A servable that notes how often each of its graphs was called."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.predicted = self.explained = 0

    def predict(self, matrix: Matrix) -> Outputs:
        self.predicted += 1
        return super().predict(matrix)

    def explain(self, matrix: Matrix) -> Outputs:
        self.explained += 1
        return super().explain(matrix)


class Failing(MeanServable):
    """A servable whose graph fails."""

    def predict(self, matrix: Matrix) -> Outputs:
        raise ModelFailure("the graph answered a non-finite number")


async def test_every_action_of_every_model_answers_its_example_before_the_first_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Predict, what-if and evaluate by one graph, explain by the other; nothing fails."""
    registry = Registry(MODELS)
    servables = [Noting(spec) for spec in MODELS.values()]
    for servable in servables:
        registry.add(servable)
    offered = [action for spec in MODELS.values() for action in actions(spec)]
    caplog.set_level(logging.ERROR)
    await warm_up(Engine(1000), registry, offered)

    assert caplog.records == []
    for servable in servables:
        assert servable.predicted >= 3 * TIMES
        assert servable.explained >= TIMES


async def test_a_model_that_fails_at_its_example_does_not_keep_the_others_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged by its name; one that is not there is passed by."""
    registry = Registry(MODELS)
    registry.add(Failing(MODELS["and_gate"]))
    await warm_up(Engine(1000), registry, actions(MODELS["and_gate"]) + actions(MODELS["survival"]))

    assert "and_gate does not predict its own example" in caplog.text
