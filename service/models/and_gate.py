"""The AND gate, the lecture's first exercise: four rows, one of them true."""

from typing import Annotated

from service.features import Row, count
from service.spec import ModelSpec
from service.tasks import Binary, Threshold


class Inputs(Row):
    """The two inputs of the gate."""

    x1: Annotated[int, count("first input", low=0, high=1, source="x1")]
    x2: Annotated[int, count("second input", low=0, high=1, source="x2")]


AND_GATE = ModelSpec(
    name="and_gate",
    title="AND gate",
    description="x1 AND x2, learnt from its truth table.",
    row=Inputs,
    target=count("x1 AND x2", low=0, high=1, source="y").named("output"),
    task=Binary(
        event="probability",
        complement=None,
        threshold=Threshold(0.5, "more probable", "the more probable output is answered"),
    ),
    example={"x1": 1, "x2": 1},
    example_target=1,
    source_columns=("x1", "x2", "y"),
)
