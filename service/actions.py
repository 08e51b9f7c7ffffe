"""What a model can be asked to do: the list that routes, documents and tests read.

Knows no HTTP: an action is a judge of requests, a use case and the type of its answer.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from service import inference
from service.evaluation import EVALUATIONS
from service.extent import DEPTH
from service.inference import Job
from service.instances import Instances
from service.judge import Judge
from service.parameters import what_if_parameters
from service.protocol import (
    MAX_ROWS,
    EvaluateRequest,
    ExplainRequest,
    ExplainResponse,
    PredictRequest,
    PredictResponse,
    WhatIfRequest,
    WhatIfResponse,
    named,
    target_type,
)
from service.registry import Servable
from service.spec import ModelSpec

# The paths of the actions, in the order in which they are offered.
NAMES = ("predict", "what-if", "evaluate", "explain")


@dataclass(frozen=True)
class Action:
    """One thing that a model can be asked to do.

    Of a `shared` one small requests are computed together. `listed` is the last field of an answer whose
    other fields are the same for any of the instances, so that it can be made slice by slice. `rows_of`
    says about how many rows a body holds, before it is read, where it is not one of ours.
    """

    name: str
    summary: str
    judge: Judge
    job: Callable[[Servable, Instances, Any], Job]
    response: type[BaseModel]
    shared: bool = False
    listed: str | None = None
    rows_of: Callable[[bytes], int] | None = None


def actions(spec: ModelSpec, depth: int = DEPTH) -> tuple[Action, ...]:
    """What every model can be asked to do, with this model's own types, in JSON of at most so many levels."""

    def typed(kind: Any, *parameters: Any) -> Any:
        return named(f"{spec.type_name}{kind.__name__}", kind[parameters])

    predict = Judge(spec, typed(PredictRequest, spec.row), depth)
    what_if = Judge(spec, typed(WhatIfRequest, spec.row, what_if_parameters(spec)), depth)
    evaluate = Judge(spec, typed(EvaluateRequest, spec.row, target_type(spec.target)), depth)
    explain = Judge(spec, typed(ExplainRequest, spec.row), depth)
    predictions = typed(PredictResponse, spec.prediction)
    curves = typed(WhatIfResponse, spec.point)
    evaluation = EVALUATIONS[spec.task.name]
    return (
        Action(
            "predict", "Answer rows", predict, inference.predict, predictions,
            shared=True, listed="predictions",
        ),
        Action(
            "what-if", "Vary one feature of each row", what_if, inference.what_if, curves,
            shared=True,
        ),
        Action("evaluate", "Measure the model on labelled rows", evaluate, inference.evaluate, evaluation),
        Action("explain", "Say what moved each answer", explain, inference.explain, ExplainResponse),
    )  # fmt: skip


def raw(predict: Action, name: str) -> Action:
    """What a dialect asks of the same model under a name of its own: the graph's outputs (`inference.raw`).

    Its reader returns `Asked` with `inference.Raw` for the options. Calls are shared with `predict`.
    """
    width = len(predict.judge.spec.features)
    return replace(
        predict, name=name, job=inference.raw, listed=None, rows_of=lambda body: _rows_of(body, width)
    )


def _rows_of(body: bytes, width: int) -> int:
    """About how many rows of so many numbers a body holds: as if each number took four bytes."""
    return min(len(body) // (4 * width) + 1, MAX_ROWS)
