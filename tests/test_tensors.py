"""Matrices and named columns get the verdicts of the native dialect's judge."""

import json
import math
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import tensors
from service.actions import actions
from service.errors import InvalidRows, MalformedBody, TooLarge
from service.features import Row, category, to_matrix
from service.models import MODELS
from service.protocol import MAX_ROWS
from service.spec import ModelSpec
from service.tensors import from_columns, from_matrix
from test_bulk import rows as fitting_rows

SURVIVAL, WINE, GATE = MODELS["survival"], MODELS["wine_quality"], MODELS["and_gate"]


def at(row: int, name: str) -> str:
    return f"#/rows/{row}/{name}"


def codes(spec: ModelSpec, count: int = 1, dtype: Any = np.float64, **changes: float) -> Any:
    """The example as a matrix of codes, its last row changed."""
    row = [feature.code(spec.example[feature.name]) for feature in spec.features]
    matrix = np.tile(np.asarray(row, dtype), (count, 1))
    for name, value in changes.items():
        matrix[-1, list(spec.example).index(name)] = value
    return matrix


def told(spec: ModelSpec, matrix: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRows) as caught:
        from_matrix(spec, matrix, at)
    return [(one.pointer, one.code) for one in caught.value.violations]


def test_a_matrix_that_fits_is_the_matrix_of_the_rows(spec: ModelSpec) -> None:
    """Of float64 and whole numbers float32 is made; a float32 matrix is not even copied."""
    expected = to_matrix(spec.row, [spec.row.model_validate(spec.example)] * 3)

    assert from_matrix(spec, codes(spec, 3), at).matrix.tobytes() == expected.tobytes()
    assert from_matrix(spec, expected, at).matrix is expected
    if spec is GATE:
        assert from_matrix(spec, codes(spec, 3, np.int8), at).matrix.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"age": 17}, "out_of_range"),
        ({"age": 60.5}, "not_whole"),
        ({"age": math.nan}, "not_finite"),
        ({"age": math.inf}, "not_finite"),
        ({"age": 3e38}, "out_of_range"),
        ({"diagnosis": 9}, "unknown_level"),
        ({"diagnosis": 1.5}, "unknown_level"),
        ({"diagnosis": math.nan}, "not_finite"),
        ({"cough": 2}, "unknown_level"),
        ({"forced_expiratory_volume_1s": 4}, "exceeds_whole"),
    ],
)
def test_a_cell_that_does_not_fit_is_told_by_its_place(
    dtype: Any, changes: dict[str, float], code: str
) -> None:
    """In the words of the native dialect, and with the codes where a level or a flag stands as one."""
    assert told(SURVIVAL, codes(SURVIVAL, 3, dtype, **changes)) == [(at(2, next(iter(changes))), code)]


def test_violations_come_row_by_row_and_not_more_than_are_told() -> None:
    """Of a million wrong cells a hundred are told, the first ones."""
    found = told(WINE, np.full((5000, 12), -1.0))

    assert len(found) == 100
    assert found[:13] == [(at(0, feature.name), "out_of_range") for feature in WINE.features[:8]] + [
        (at(0, feature.name), "out_of_range") for feature in WINE.features[8:11]
    ] + [(at(0, "type"), "unknown_level"), (at(1, "fixed_acidity"), "out_of_range")]


def test_a_bound_may_be_met_in_float32() -> None:
    """0.9 as a float32 is a little less than 0.9 and is the bound all the same; the next one is not."""
    least = np.float32(0.9)
    from_matrix(WINE, codes(WINE, 1, np.float32, density=least), at)

    below = np.nextafter(least, np.float32(0))
    assert told(WINE, codes(WINE, 1, np.float32, density=below)) == [(at(0, "density"), "out_of_range")]


@pytest.mark.parametrize(
    "matrix",
    [np.ones(2), np.ones((1, 3)), np.ones((1, 1, 2)), np.ones((1, 2), bool), np.array([["1", "1"]])],
)
def test_another_shape_or_type_is_malformed(matrix: Any) -> None:
    """What is no (n, d) of numbers has no cells to be told of."""
    with pytest.raises(MalformedBody):
        from_matrix(GATE, matrix, at)


def test_rows_are_at_least_one_and_at_most_as_many_as_of_the_native_dialect() -> None:
    """Both are refused before a cell is looked at."""
    with pytest.raises(InvalidRows):
        from_matrix(GATE, np.ones((0, 2)), at)
    with pytest.raises(TooLarge):
        from_matrix(GATE, np.ones((MAX_ROWS + 1, 2), np.int8), at)


def columns(spec: ModelSpec, **changes: Any) -> dict[str, Any]:
    return {name: [value, value] for name, value in spec.example.items()} | changes


def test_columns_hold_public_values_or_codes(spec: ModelSpec) -> None:
    """Names of levels and booleans, or their codes; lists or arrays; in any order."""
    expected = codes(spec, 2, np.float32).tobytes()
    coded = {feature.name: np.full(2, feature.code(spec.example[feature.name])) for feature in spec.features}
    backwards = dict(reversed(columns(spec).items()))

    for given_columns in (columns(spec), coded, backwards):
        assert from_columns(spec, given_columns, at, "#").matrix.tobytes() == expected


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"age": [60, True]}, at(1, "age"), "wrong_type"),
        ({"age": [60, "60"]}, at(1, "age"), "wrong_type"),
        ({"age": [60, None]}, at(1, "age"), "wrong_type"),
        ({"age": [60, 10**400]}, at(1, "age"), "wrong_type"),
        ({"age": [60, [60]]}, at(1, "age"), "wrong_type"),
        ({"cough": [True, "true"]}, at(1, "cough"), "wrong_type"),
        ({"cough": [True, 2]}, at(1, "cough"), "unknown_level"),
        ({"diagnosis": ["DGN2", "DGN9"]}, at(1, "diagnosis"), "unknown_level"),
        ({"diagnosis": [2, 9]}, at(1, "diagnosis"), "unknown_level"),
        ({"diagnosis": np.array([False, True])}, at(0, "diagnosis"), "unknown_level"),
        ({"horse": [1, 2]}, "#", "unknown_field"),
    ],
)
def test_a_value_of_a_column_that_does_not_fit_is_told(
    changes: dict[str, Any], pointer: str, code: str
) -> None:
    """By its place; a value is never repeated."""
    with pytest.raises(InvalidRows) as caught:
        from_columns(SURVIVAL, columns(SURVIVAL, **changes), at, "#")

    first = caught.value.violations[0]
    assert (first.pointer, first.code) == (pointer, code)
    assert "horse" not in first.detail


def test_a_column_that_is_missing_or_short_is_refused() -> None:
    """Missing ones are named."""
    for lost in ({"x1": [1]}, {}):
        with pytest.raises(InvalidRows) as caught:
            from_columns(GATE, lost, at, "#")
        assert caught.value.violations[-1].pointer == "#/x2"
    with pytest.raises(MalformedBody):
        from_columns(GATE, {"x1": [1, 1], "x2": [1]}, at, "#")


@pytest.mark.parametrize("name", ["survival", "wine_quality", "and_gate"])
def test_verdicts_are_those_of_the_judge(name: str) -> None:
    """Rows at random, one cell of which may be odd: the same pointers and codes as of a JSON body."""
    spec = MODELS[name]
    judge = actions(spec)[0].judge
    odd = st.sampled_from([math.nan, -1, 0, 1, 0.5, 5.9999999999, 10.0000000001, 0.9, 1.3, 1e300, 8, 9.5])

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        instances = data.draw(st.lists(fitting_rows(spec), min_size=1, max_size=4))
        numbers = [feature.name for feature in spec.features if feature.low is not None]
        for _ in range(data.draw(st.sampled_from([0, 1, 1, 2]))):
            data.draw(st.sampled_from(instances))[data.draw(st.sampled_from(numbers))] = data.draw(odd)
        lists = {name: [instance[name] for instance in instances] for name in spec.example}
        found = []
        for judged in (
            lambda: judge.json(json.dumps({"instances": instances}).encode())[0],
            lambda: from_columns(spec, lists, lambda row, name: f"#/instances/{row}/{name}", "#"),
        ):
            try:
                found.append(judged().matrix.tobytes())
            except InvalidRows as error:
                found.append(error.violations)
        assert found[0] == found[1]

    compare()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_plainly_fits_is_what_fits_column_by_column(spec: ModelSpec, dtype: Any) -> None:
    """The quick look at a whole matrix accepts nothing that the look at its columns refuses, nor less."""
    generator = np.random.default_rng(7)
    example = codes(spec)[0]
    odd = [math.nan, math.inf, -1, 0, 1, 0.5, 2, 8, 9, 10, 14, 15, 0.9, 1.3, 500.0001, 1e300]
    seen = set()
    with np.errstate(over="ignore"):
        for _ in range(400):
            matrix = np.tile(example, (2, 1))
            matrix[generator.integers(2), generator.integers(len(example))] = generator.choice(odd)
            matrix = matrix.astype(dtype)
            try:
                tensors._judged(spec, list(matrix.T), at)
                fits = True
            except InvalidRows:
                fits = False
            assert tensors._plain(spec.row, matrix) == fits
            seen.add(fits)
    assert seen == {True, False}


def test_codes_that_do_not_follow_one_another_are_looked_up() -> None:
    """A table may have left one out."""

    class Gapped(Row):
        level: Annotated[str, category("a level", levels={"one": 1, "three": 3}, source="l")]

    assert tensors._plain(Gapped, np.array([[1.0], [3.0]]))
    assert not tensors._plain(Gapped, np.array([[1.0], [2.0]]))
