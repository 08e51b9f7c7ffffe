"""The vocabulary of declarations, and what is declared in it."""

from typing import Annotated

import numpy as np
import pytest
from pydantic import ValidationError

from service.features import Row, category, count, flag, part_violations, quantity, to_matrix
from service.models import MODELS
from service.spec import ModelSpec


class Walk(Row):
    """A row with one feature of each kind."""

    metres: Annotated[float, quantity("length", unit="m", low=0, high=100, source="M", at_most="limit")]
    limit: Annotated[float, quantity("limit", unit="m", low=0, high=100, source="L")]
    steps: Annotated[int, count("steps", low=0, high=9, source="S")]
    alone: Annotated[bool, flag("alone", source="A")]
    pace: Annotated[str, category("pace", levels={"slow": 3, "fast": 5}, source="P")]


WALK = {"metres": 1.5, "limit": 2, "steps": 4, "alone": True, "pace": "fast"}


def test_the_matrix_has_declared_order_units_and_codes() -> None:
    """Fields may come in any order; columns never do."""
    backwards = Walk.model_validate(dict(reversed(WALK.items())))

    matrix = to_matrix(Walk, [backwards])

    assert matrix.dtype == np.float32
    assert matrix.tolist() == [[1.5, 2, 4, 1, 5]]


def test_codes_and_values_are_inverse() -> None:
    """Every value of the row survives the way into the matrix and back, as it was written."""
    codes = to_matrix(Walk, [Walk.model_validate(WALK)])[0].tolist()

    assert [feature.value(code) for feature, code in zip(Walk.features(), codes, strict=True)] == [
        *WALK.values()
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metres", True),
        ("metres", "1"),
        ("steps", 1.5),
        ("alone", 1),
        ("alone", "true"),
        ("pace", 5),
        ("pace", "Fast"),
    ],
)
def test_validation_is_strict(name: str, value: object) -> None:
    """No value is turned into another kind; that is how columns swap unseen."""
    with pytest.raises(ValidationError):
        Walk.model_validate(WALK | {name: value})


def test_validation_errors_do_not_show_the_value() -> None:
    """Even pydantic's own message, should it ever be printed, hides the input."""
    with pytest.raises(ValidationError) as caught:
        Walk.model_validate(WALK | {"pace": "MARKER"})

    assert "MARKER" not in str(caught.value)


def test_a_part_larger_than_its_whole_is_found() -> None:
    """The row index and the feature stand in the pointer; an equal part is allowed."""
    matrix = np.asarray([[2, 2, 0, 0, 3], [3, 2, 0, 0, 3]], np.float32)

    assert [violation.pointer for violation in part_violations(Walk, matrix)] == ["#/instances/1/metres"]


@pytest.mark.parametrize(
    ("name", "cell", "value"),
    [
        ("metres", " 1.5 ", 1.5),
        ("metres", "1_5", "1_5"),
        ("metres", "٨", "٨"),
        ("steps", "4", 4.0),
        ("alone", "TRUE", True),
        ("alone", "0", False),
        ("alone", "2", "2"),
        ("pace", "5", "fast"),
        ("pace", "fast", "fast"),
        ("pace", "7", "7"),
    ],
)
def test_cells_are_read_by_kind(name: str, cell: str, value: object) -> None:
    """A CSV cell is a public value or the table's own code; anything else is left for validation."""
    feature = next(feature for feature in Walk.features() if feature.name == name)

    assert feature.parse(cell) == value
    assert type(feature.parse(cell)) is type(value)


def test_a_whole_number_is_rounded_and_never_cut() -> None:
    """5.9999999999 passes for whole; as a class it is 6."""
    steps = next(feature for feature in Walk.features() if feature.name == "steps")

    assert steps.code(5.9999999999) == 6


def test_every_feature_is_declared_in_full(spec: ModelSpec) -> None:
    """Meaning, source, and bounds or levels where the kind has them; units for quantities."""
    assert len(spec.features) == len(spec.row.model_fields)
    for feature in (*spec.features, spec.target):
        assert feature.name
        assert feature.meaning
        assert feature.source in spec.source_columns
        if feature.kind in ("quantity", "count"):
            assert feature.low < feature.high
        if feature.kind == "quantity":
            assert feature.unit
        if feature.kind == "category":
            assert len(feature.levels) >= 2


def test_the_example_is_a_valid_row(spec: ModelSpec) -> None:
    """The example fits its own declaration, target included."""
    row = spec.row.model_validate(spec.example)
    matrix = to_matrix(spec.row, [row])

    assert not list(part_violations(spec.row, matrix))
    assert spec.target.value(spec.target.code(spec.example_target)) == spec.example_target


def test_the_declared_models_are_the_five() -> None:
    """Five models, each under its own name."""
    assert list(MODELS) == ["and_gate", "survival", "wine_type", "wine_quality", "wine_grade"]


def test_survival_names_the_event_it_speaks_of() -> None:
    """The lecture's text inverts the label; code 1 of Risk1Yr is death."""
    survival = MODELS["survival"]

    assert survival.target.value(1) == "death_within_one_year"
    assert [output.name for output in survival.task.outputs(survival.target)] == [
        "probability_of_death_within_one_year",
        "probability_of_survival",
    ]
