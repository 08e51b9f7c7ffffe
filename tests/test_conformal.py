"""What sets and intervals of the tasks hold, given critical values: a row by itself, and many at once."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic_core import from_json

from service.conformal import Critical
from service.models import MODELS
from service.tasks import Multiclass

GRADE, QUALITY = MODELS["wine_grade"], MODELS["wine_quality"]


@pytest.mark.parametrize(
    ("event", "values", "expected"),
    [
        (0.25, [0.5, 0.25], ["white", "red"]),
        (0.24, [0.5, 0.25], ["white"]),
        (0.6, [0.5, 0.25], ["red"]),
        (0.5, [0.6, 0.6], []),
    ],
)
def test_a_class_is_in_the_set_from_its_own_critical_value_on(
    event: float, values: list[float], expected: list[str]
) -> None:
    """Each class has its own; the value itself is inside; a row like no class has an empty set."""
    spec = MODELS["wine_type"]
    share = np.asarray([event], np.float32)
    outputs = {"probability_of_red": share, "probability_of_white": 1 - share}

    answers = spec.task.answers(spec.target, outputs, Critical(0.9, values))

    assert from_json(answers["prediction_set"][0]) == expected


def test_each_row_of_a_call_has_its_own_set() -> None:
    """Four rows, one after another: red alone, both, white alone, and both again."""
    spec = MODELS["wine_type"]
    share = np.float32([0.9, 0.5, 0.1, 0.5])
    outputs = {"probability_of_red": share, "probability_of_white": 1 - share}

    answers = spec.task.answers(spec.target, outputs, Critical(0.9, [0.4, 0.4]))

    assert [from_json(text) for text in answers["prediction_set"]] == [
        ["red"],
        ["white", "red"],
        ["white"],
        ["white", "red"],
    ]


@pytest.mark.parametrize(("share", "expected"), [(0.25, [3]), (np.nextafter(np.float32(0.25), 0), [])])
def test_a_row_has_the_same_set_alone_at_its_critical_value(share: float, expected: list[int]) -> None:
    """The value itself is inside, as for many rows; of equal shares the first is answered."""
    shares = [share, *[0.1] * 5, 0.25]
    critical = Critical(0.9, [0.25, *[0.9] * 6])
    outputs = {"probabilities": np.float32([shares]), "mean_grade": np.float32([6])}
    row = {name: values.tolist()[0] for name, values in outputs.items()}

    answer = GRADE.task.answer(GRADE.target, row, critical)
    answers = GRADE.task.answers(GRADE.target, outputs, critical)

    assert answer["prediction_set"] == from_json(answers["prediction_set"][0]) == expected
    assert answer["grade"] == from_json(answers["grade"][0]) == (3 if expected else 9)


def test_an_end_of_an_interval_is_written_alike_for_one_row_and_for_many() -> None:
    """Of a mean of -0.0 that is sure, too: the target's own end is 0.0."""
    outputs = {name: np.float32([-0.0]) for name in ("quality", "median_quality")}
    outputs["standard_deviation"] = np.float32([0.0])
    row = {name: values.tolist()[0] for name, values in outputs.items()}

    alone = QUALITY.task.answer(QUALITY.target, row, Critical(0.9, [1.0]))["interval"]
    together = QUALITY.task.answers(QUALITY.target, outputs, Critical(0.9, [1.0]))["interval"]

    assert {name: repr(value) for name, value in alone.items()} == {
        name: repr(values.tolist()[0]) for name, values in together.items()
    }


def test_a_target_has_no_more_classes_than_a_set_can_hold() -> None:
    """The last of 62 classes can stand in a set alone; a 63rd is refused when it is declared."""
    task = Multiclass(tuple(range(62)))
    target = replace(GRADE.target, name="class")
    outputs = {"probabilities": np.eye(62, dtype=np.float32)[-1:], "mean_class": np.float32([61])}

    answers = task.answers(target, outputs, Critical(0.9, [0.5] * 62))

    assert from_json(answers["prediction_set"][0]) == [61]
    with pytest.raises(ValueError, match="at most 62 classes"):
        Multiclass(tuple(range(63)))


def test_an_interval_ends_where_the_target_does() -> None:
    """Two standard deviations to either side, but a grade lies from 0 to 10."""
    outputs = {
        "quality": np.asarray([1, 5, 9.5], np.float32),
        "standard_deviation": np.asarray([1, 1, 0.5], np.float32),
    }
    low, high = QUALITY.task.interval(QUALITY.target, outputs, Critical(0.9, [2.0]))

    assert low.tolist() == [0, 3, 8.5]
    assert high.tolist() == [3, 7, 10]

    endless = replace(QUALITY.target, low=None, high=None)
    low, high = QUALITY.task.interval(endless, outputs, Critical(0.9, [2.0]))

    assert low.tolist() == [-1, 3, 8.5]
    assert high.tolist() == [3, 7, 10.5]
