"""The forms in which TensorFlow Serving's JSON holds rows; MLflow and Vertex AI have taken them over.

`instances` is a list with an element for each row, `inputs` holds columns. In both, a row is either the one
tensor of the signature, `x`, or the declared features by name. Knows JSON's text; knows nothing of HTTP.
"""

from base64 import b64decode
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Any, NoReturn

import numpy as np
from pydantic_core import from_json

from service.errors import InvalidRows, MalformedBody, TooLarge
from service.extent import narrow
from service.instances import Instances
from service.judge import Judge
from service.protocol import MAX_ROWS
from service.spec import ModelSpec
from service.tensors import from_columns, from_matrix

# The name of the signature's one input.
TENSOR = "x"


def parsed(judge: Judge, body: bytes, allowed: Collection[str]) -> dict[str, Any]:
    """The object that a JSON body is, with no other keys than these, no NaN and nothing after it.

    Of two equal keys the last one counts, as in the native dialect. Raises MalformedBody or TooLarge.
    """
    try:
        document = from_json(judge.bounded(body), allow_inf_nan=False)
    except ValueError as error:
        raise MalformedBody(f"The body is not valid JSON: {error}. Send a JSON object.") from None
    narrow(document)
    if not isinstance(document, dict):
        raise MalformedBody("The body is not a JSON object; send one.")
    if not document.keys() <= set(allowed):
        known = ", ".join(f"`{key}`" for key in allowed)
        raise MalformedBody(f"The body has a key that is not defined; allowed are {known}.")
    return document


def one_of(document: Mapping[str, Any], keys: Collection[str]) -> str:
    """The one of these keys that the document has. Raises MalformedBody if that is none, or several."""
    found = [key for key in keys if key in document]
    if len(found) != 1:
        known = ", ".join(f"`{key}`" for key in keys)
        raise MalformedBody(f"The body holds {len(found)} of {known}; give exactly one of them.")
    return found[0]


def refuse_options(document: Mapping[str, Any], key: str) -> None:
    """Raise MalformedBody unless what stands under this key is an object of no options, or nothing."""
    if document.get(key) not in (None, {}):
        raise MalformedBody(f"`{key}` is no empty object, and no options are defined here; leave it out.")


def from_instances(judge: Judge, items: Any, key: str = "instances") -> Instances:
    """Rows that are all lists of numbers, all {"x": list}, or all objects of named features.

    Raises MalformedBody, InvalidRows or TooLarge.
    """
    filled(items, key)
    kinds = set(map(type, items))
    if kinds == {dict}:
        if not all(len(item) == 1 and TENSOR in item for item in items):
            return named(judge, items, key)
        return _tensor(judge.spec, [item[TENSOR] for item in items], key, f"#/{key}/{{}}/{TENSOR}")
    if kinds != {list}:
        raise MalformedBody(f"The rows in `{key}` are not all lists or all objects; give all in one form.")
    return _tensor(judge.spec, items, key, f"#/{key}/{{}}")


def from_inputs(judge: Judge, value: Any) -> Instances:
    """Columns: a list of rows, {"x": list of rows}, or {feature: list of values} for each feature.

    Raises MalformedBody, InvalidRows or TooLarge.
    """
    row = "#/inputs/{}"
    if isinstance(value, dict) and value.keys() == {TENSOR}:
        value, row = value[TENSOR], f"#/inputs/{TENSOR}/{{}}"
    if not isinstance(value, dict):
        filled(value, "inputs")
        return _tensor(judge.spec, value, "inputs", row)
    if not all(isinstance(column, list) for column in value.values()):
        raise MalformedBody("A column in `inputs` is no list; give {feature: [its value in each row, ...]}.")
    columns = {name: _plain(column) for name, column in value.items()}
    return from_columns(judge.spec, columns, lambda row, name: f"#/inputs/{name}/{row}", "#/inputs")


def named(judge: Judge, rows: Any, key: str) -> Instances:
    """Rows of named features, objects all. Raises MalformedBody, InvalidRows or TooLarge."""
    filled(rows, key)
    if not all(isinstance(row, dict) for row in rows):
        raise MalformedBody(f"A row in `{key}` is no object; give {{feature: value, ...}}.")
    names = rows[0].keys()
    if not all(row.keys() == names for row in rows):
        _refuse_names(judge, rows, key)
    columns = {name: _plain([row[name] for row in rows]) for name in names}
    return from_columns(judge.spec, columns, lambda row, name: f"#/{key}/{row}/{name}", f"#/{key}/0")


def _refuse_names(judge: Judge, rows: Sequence[Any], key: str) -> NoReturn:
    """Tell each row what it lacks, and has too much: of rows with different names some are wrong."""
    example = judge.spec.example
    try:
        judge.document({"instances": [{name: example.get(name) for name in row} for row in rows]})
    except InvalidRows as error:
        moved = [one.pointer.replace("instances", key, 1) for one in error.violations]
        told = zip(error.violations, moved, strict=True)
        raise InvalidRows(str(error), [replace(one, pointer=pointer) for one, pointer in told]) from None
    raise AssertionError("rows with the declared names have the same names")


def _tensor(spec: ModelSpec, rows: Sequence[Any], key: str, row: str) -> Instances:
    """Rows of numbers in declared order: JSON's booleans and texts are none, though numpy would take them.

    `row` is the pointer of a row, with {} for its number.
    """
    width = len(spec.features)
    if not all(isinstance(row, list) and len(row) == width for row in rows):
        raise MalformedBody(
            f"A row in `{key}` is not a list of {width} numbers; give one for each feature, as declared."
        )
    kinds = set(map(type, chain.from_iterable(rows)))
    if not kinds <= {int, float}:
        raise MalformedBody(f"A value in `{key}` is not a number; in a list give codes and numbers alone.")
    try:
        matrix = np.array(rows, np.float64)
    except OverflowError:
        raise MalformedBody(f"A number in `{key}` is beyond float64; give smaller ones.") from None
    places = {feature.name: place for place, feature in enumerate(spec.features)}
    return from_matrix(spec, matrix, lambda number, name: f"{row.format(number)}/{places[name]}")


def filled(items: Any, key: str) -> None:
    """Raise MalformedBody unless these are a list of something, TooLarge if that is too many rows."""
    if not isinstance(items, list) or not items:
        raise MalformedBody(f"`{key}` is no list with at least one row; send one.")
    if len(items) > MAX_ROWS:
        raise TooLarge(f"A request may hold at most {MAX_ROWS:,} rows; send several requests.")


def _plain(column: list[Any]) -> list[Any]:
    """The values of a column without their wrapping: [v], as tensors of shape (n, 1) have, {"b64": text}."""
    return [_value(value) for value in column] if {list, dict} & set(map(type, column)) else column


def _value(value: Any) -> Any:
    """A value without its wrapping; what is something else is for the declaration to refuse."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict) and value.keys() == {"b64"}:
        with suppress(ValueError, TypeError):
            return b64decode(value["b64"], validate=True).decode()
    return value
