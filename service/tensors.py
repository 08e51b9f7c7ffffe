"""Rows as numbers: a matrix (n, d) of codes, or columns by name, judged by the declaration.

What plainly fits is accepted at once, whatever the number of rows; only cells that do not are looked at one
by one, and get the verdicts and the words that they get in the native dialect. Where a level or a flag may
stand as its code, which JSON rows do not let it, that is said. Knows numpy; knows nothing of HTTP.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from service.errors import MalformedBody, TooLarge, Violation
from service.features import Feature, Matrix, Row, exceeds_whole
from service.instances import Instances
from service.judge import MAX_VIOLATIONS, refuse
from service.protocol import MAX_ROWS
from service.spec import ModelSpec
from service.violations import CODES, row_violations, value_violations

# The JSON pointer of a cell: of its row, and the name of its feature.
Pointer = Callable[[int, str], str]
Column = Sequence[Any] | NDArray[Any]
# A place that breaks a rule, by row and feature, so that they can be put in order.
Found = tuple[int, int, Violation]
# The kinds of numpy's arrays that hold numbers: whole ones, real ones.
NUMBERS = "iuf"
# Validation takes what is so much of itself away from a whole number for that number (pydantic's own bound).
NEARLY = 1e9


def from_matrix(spec: ModelSpec, matrix: NDArray[Any], pointer: Pointer) -> Instances:
    """Judge a matrix (n, d) of real or whole numbers: codes and values in declared order and units.

    A float32 matrix is judged in float32 and not copied; float64 and whole numbers are judged as they are,
    then rounded to float32. Raises InvalidRows with the pointers, MalformedBody if it has not d columns or
    is not of numbers (a boolean is none), TooLarge.
    """
    width = len(spec.features)
    if matrix.ndim != 2 or matrix.shape[1] != width:
        raise MalformedBody(
            f"The tensor has not the shape (rows, {width}); this model's rows have {width} features."
        )
    if matrix.dtype.kind not in NUMBERS:
        raise MalformedBody("The tensor is not of numbers; send float32, float64 or whole numbers.")
    if 0 < len(matrix) <= MAX_ROWS and _plain(spec.row, matrix):
        return Instances(matrix.astype(np.float32, copy=False))
    return Instances(_judged(spec, list(matrix.T), pointer))


class Bounds(NamedTuple):
    """What the codes of a row lie within, (d,) each, and the places of those that are whole numbers.

    `gaps` has the place and the codes of each category whose codes do not follow one another.
    """

    low: NDArray[Any]
    high: NDArray[Any]
    whole: list[int]
    gaps: list[tuple[int, list[int]]]


@cache
def _bounds(row: type[Row], dtype: Any) -> Bounds:
    """Those of a declared row, flags and levels by their codes, in the type that values are compared in."""
    codes = [sorted(feature.levels.values()) or [0, 1] for feature in row.features()]
    pairs = [
        (each[0], each[-1]) if feature.low is None else (feature.low, feature.high)
        for feature, each in zip(row.features(), codes, strict=True)
    ]
    whole = [place for place, feature in enumerate(row.features()) if feature.kind != "quantity"]
    gaps = [(place, each) for place, each in enumerate(codes) if each != list(range(each[0], each[-1] + 1))]
    low, high = np.asarray(pairs, dtype).T
    return Bounds(low, high, whole, gaps)


def _plain(row: type[Row], matrix: NDArray[Any]) -> bool:
    """Whether every value plainly fits, as `_fitted` finds column by column, but sooner."""
    bounds = _bounds(row, np.float32 if matrix.dtype == np.float32 else np.float64)
    # Of a NaN, neither is true.
    if not ((matrix >= bounds.low) & (matrix <= bounds.high)).all():
        return False
    whole = matrix[:, bounds.whole]
    if (whole != np.rint(whole)).any() or any(
        not np.isin(matrix[:, place], codes).all() for place, codes in bounds.gaps
    ):
        return False
    found = matrix.astype(np.float32, copy=False)
    return not any((found[:, part] > found[:, total]).any() for _, part, total in row.parts())


def from_columns(
    spec: ModelSpec, columns: Mapping[str, Column], pointer: Pointer, row: str, listed: bool = False
) -> Instances:
    """Judge columns of n values each, by public names, in any order; arrays, or lists of JSON's values.

    A value is a public one, as in a JSON row, or the code of a level or a flag, as in the table and in the
    matrix: booleans are for flags, numbers for all else and for codes, texts are names of levels. A name that
    is missing or not declared is told below the pointer `row`, or if names are `listed` there, at it.

    Raises InvalidRows with the pointers, MalformedBody if columns differ in length, TooLarge.
    """
    refuse_names(spec, columns, row, listed)
    if len({len(column) for column in columns.values()}) != 1:
        raise MalformedBody("The columns differ in length; send a value for each row in each of them.")
    return Instances(_judged(spec, [columns[feature.name] for feature in spec.features], pointer))


def refuse_names(spec: ModelSpec, names: Iterable[str], row: str, listed: bool) -> None:
    """Raise InvalidRows unless these are the names of the features, in any order, as `from_columns` does."""
    # Told as of a row with these fields: undeclared ones by their place, missing ones by name.
    told = row_violations(spec, {name: spec.example.get(name) for name in names}, row)
    refuse([replace(one, pointer=row) if listed else one for one in told])


def _judged(spec: ModelSpec, columns: Sequence[Column], pointer: Pointer) -> Matrix:
    """The columns, in declared order, as a matrix of codes. Raises InvalidRows and TooLarge."""
    rows = len(columns[0])
    if rows > MAX_ROWS:
        raise TooLarge(f"A request may hold at most {MAX_ROWS:,} rows; send several requests.")
    if not rows:
        refuse([Violation("#", "There are no rows; send at least one.", "empty")])
    arrays = [_array(column) for column in columns]
    # What is not finite or not a float32 does not fit, and is refused below.
    with np.errstate(invalid="ignore", over="ignore"):
        pairs = [_fitted(one, array) for one, array in zip(spec.features, arrays, strict=True)]
        matrix = np.stack([codes.astype(np.float32) for codes, _ in pairs], axis=1)
    fits = [fit for _, fit in pairs]
    found = [
        _faults(feature, place, array, np.flatnonzero(~fit), pointer)
        for place, (feature, array, fit) in enumerate(zip(spec.features, arrays, fits, strict=True))
        if not fit.all()
    ]
    found += _excesses(spec, matrix, np.logical_and.reduce(fits), pointer)
    refuse([violation for _, _, violation in islice(merge(*found, key=itemgetter(0, 1)), MAX_VIOLATIONS)])
    return matrix


def _array(column: Column) -> NDArray[Any]:
    """A column of JSON's values as an array, of objects unless all are booleans or all are numbers."""
    if isinstance(column, np.ndarray):
        return column
    kinds = set(map(type, column))
    try:
        if kinds == {bool} or kinds <= {int, float}:
            return np.array(column, bool if bool in kinds else np.float64)
    except OverflowError:
        pass  # a whole number beyond any float
    return np.fromiter(column, object, len(column))


def _fitted(feature: Feature, array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The codes of a column, and which of them fit the declaration."""
    if array.dtype.kind not in NUMBERS:
        array = np.asarray([_code(feature, cell) for cell in array.tolist()], np.float64)
    if feature.low is None or feature.high is None:
        return array, np.isin(array, list(feature.levels.values()) or [0, 1])
    # A float32 is compared with the bounds as float32.
    fits = (array >= feature.low) & (array <= feature.high)
    if feature.kind != "count":
        return array, fits
    # What is as good as whole is whole as a float32.
    return array, fits & (np.abs(array - np.rint(array)) <= np.abs(array) / NEARLY)


def _code(feature: Feature, cell: Any) -> float:
    """The code of a cell, NaN if it is of a type that the feature has not."""
    if isinstance(cell, str):
        return feature.levels.get(cell, math.nan)
    if isinstance(cell, bool):
        return float(cell) if feature.kind == "flag" else math.nan
    try:
        return float(cell) if isinstance(cell, int | float) else math.nan
    except OverflowError:
        return math.inf


def _faults(
    feature: Feature, place: int, array: NDArray[Any], rows: NDArray[np.intp], pointer: Pointer
) -> Iterator[Found]:
    """Yield what the judge says of the cells in these rows."""
    validate = TypeAdapter(Annotated[Any, feature]).validate_python
    for row in rows.tolist():
        item, where = array[row], pointer(row, feature.name)
        if isinstance(item, np.generic):
            # Of a float32 the shortest decimal, as it was written.
            item = float(str(item)) if array.dtype == np.float32 else item.item()
        told = value_violations(validate, feature, item, where)
        if feature.low is None and isinstance(item, int | float) and not isinstance(item, bool):
            told = iter([_no_code(feature, item, where)])
        yield from ((row, place, violation) for violation in told)


def _no_code(feature: Feature, number: float, pointer: str) -> Violation:
    """The violation of a number that is not the code of a level or a flag."""
    levels = feature.levels or {"false": 0, "true": 1}
    allowed = ", ".join(f"{code} ({level})" for level, code in levels.items())
    # A whole number may be beyond float64, and is finite.
    code, fault = CODES[
        "literal_error" if isinstance(number, int) or math.isfinite(number) else "finite_number"
    ]
    return Violation(pointer, f"{feature.name} {fault}; give one of the codes {allowed}.", code)


def _excesses(
    spec: ModelSpec, matrix: Matrix, fit: NDArray[np.bool_], pointer: Pointer
) -> Iterator[Iterator[Found]]:
    """Yield for each part the rows in which it exceeds its whole, as float32, of those that fit otherwise."""
    for feature, part, whole in spec.row.parts():
        rows = np.flatnonzero(fit & (matrix[:, part] > matrix[:, whole])).tolist()
        yield (
            (row, part, replace(exceeds_whole(feature, ""), pointer=pointer(row, feature.name)))
            for row in rows
        )
