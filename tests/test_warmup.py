"""What is done before a version answers, so that its first request is no slower than the later ones."""

import logging

import pytest

from mean_servable import MeanServable
from service.actions import actions
from service.app import create_app
from service.engine import Engine
from service.errors import ModelFailure
from service.features import Matrix
from service.inference import CALL_ROWS, EXPLAINED_ROWS
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec
from service.tasks import Outputs
from service.warmup import TIMES, warm, warm_up

pytestmark = pytest.mark.anyio


class Noting(MeanServable):
    """A servable that notes how many rows each call of its graphs had."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.predicted: list[int] = []
        self.explained: list[int] = []

    def predict(self, matrix: Matrix) -> Outputs:
        self.predicted.append(len(matrix))
        return super().predict(matrix)

    def explain(self, matrix: Matrix) -> Outputs:
        self.explained.append(len(matrix))
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
        assert len(servable.predicted) >= 3 * TIMES
        assert len(servable.explained) >= TIMES


def test_a_version_is_warmed_with_one_row_and_with_a_full_call(
    spec: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    """By each of its graphs, several times."""
    servable = Noting(spec)
    caplog.set_level(logging.ERROR)
    warm(servable, actions(spec))

    assert caplog.records == []
    assert min(servable.predicted.count(rows) for rows in (1, CALL_ROWS)) >= 2 * TIMES
    assert min(servable.explained.count(rows) for rows in (1, EXPLAINED_ROWS)) >= TIMES


def test_a_version_that_fails_at_its_example_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """It has reproduced its golden rows, and is not kept out; what else it can be asked is still warmed."""
    warm(Failing(MODELS["and_gate"]), actions(MODELS["and_gate"]))

    failed = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [line.split(" its own example")[0] for line in failed] == [
        f"and_gate does not {action}" for action in ("predict", "what-if", "evaluate")
    ]


async def test_a_model_that_fails_at_its_example_does_not_keep_the_others_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged by its name; one that is not there is passed by."""
    registry = Registry(MODELS)
    registry.add(Failing(MODELS["and_gate"]))
    await warm_up(Engine(1000), registry, actions(MODELS["and_gate"]) + actions(MODELS["survival"]))

    assert "and_gate does not predict its own example" in caplog.text


@pytest.mark.slow
async def test_routes_and_the_document_are_there_before_the_first_request() -> None:
    """FastAPI puts them together when they are first asked for, which takes some hundred milliseconds."""
    app = create_app(Settings(models="and_gate"))
    before = app.api.openapi_schema
    async with app.api.router.lifespan_context(app.api):
        assert before is None
        assert app.api.openapi_schema
