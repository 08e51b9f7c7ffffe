"""Objects with the same keys, written column by column."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic_core import to_json

from service.wording import listed, with_first, with_last, worded

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.integers(1, 5).flatmap(lambda rows: arrays(np.float32, (3, rows), elements=FINITE)))
def test_objects_are_written_as_one_by_one(numbers: np.ndarray) -> None:
    """Number for number what `to_json` makes of the same objects, nested ones and texts among them."""
    first, second, third = numbers
    texts = [to_json([f"row {row}"]) for row in range(len(first))]
    columns = zip(*numbers.tolist(), range(len(first)), strict=True)
    expected = [
        {"a": one, '100% "in"': {"b": [f"row {row}"], "deeper": {"c": two}}, "d": three}
        for one, two, three, row in columns
    ]

    found = worded({"a": first, '100% "in"': {"b": texts, "deeper": {"c": second}}, "d": third})

    assert listed(found) == to_json(expected)


def test_a_float32_is_written_as_the_float64_that_it_is_beside_float64s() -> None:
    """Both kinds in one call: neither is rounded to the other."""
    found = worded({"single": np.float32([0.1]), "double": np.float64([0.1])})

    assert json.loads(found[0]) == {"single": float(np.float32(0.1)), "double": 0.1}


def test_objects_of_texts_alone_need_no_number() -> None:
    """As of a binary answer without anything else."""
    assert worded({"a": [b"true", b"null"]}) == [b'{"a":true}', b'{"a":null}']


@pytest.mark.parametrize("lengths", [(2, 1, 2), (1, 2, 2), (2, 2, 1), (2, 3, 1)])
def test_columns_of_different_lengths_are_refused(lengths: tuple[int, int, int]) -> None:
    """No row is answered with what is another's, or with less."""
    one, other, texts = lengths

    with pytest.raises(ValueError, match="zip"):
        worded({"a": np.ones(one), "b": np.ones(other), "c": [b"1"] * texts})


def test_a_field_is_put_before_the_others() -> None:
    """Each object gets its own."""
    assert with_first("id", [b"7", b"8"], [b'{"a":1}', b'{"a":2}']) == [b'{"id":7,"a":1}', b'{"id":8,"a":2}']


def test_a_field_is_put_behind_the_others() -> None:
    """As the list of an answer is, behind what is the same for every request."""
    assert with_last("more", b"[1]", b'{"a":1}') == b'{"a":1,"more":[1]}'


@pytest.mark.parametrize("values", [[b"1"], [b"1", b"2", b"3"]])
def test_as_many_values_as_objects_are_asked_for(values: list[bytes]) -> None:
    """Nothing is cut off in silence."""
    with pytest.raises(ValueError, match="zip"):
        with_first("id", values, [b'{"a":1}', b'{"a":2}'])
