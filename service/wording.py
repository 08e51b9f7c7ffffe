"""JSON of many objects with the same keys, written column by column.

Of many rows that takes half of the time of an object of Python's for each, and of its way into JSON
(benchmarks/NOTES.md). Knows JSON's text alone.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

# A value for each row: finite numbers (n,), or texts that are JSON already.
Column = NDArray[np.floating[Any]] | Sequence[bytes]
# Columns, and objects of columns, by their keys in order; and those keys.
Fields = dict[str, "Column | Fields"]
Keys = tuple["str | tuple[str, Keys]", ...]


def worded(fields: Fields) -> list[bytes]:
    """An object for each of n rows; numbers as `to_json` writes them, float32 as the float64 that it is.

    Raises ValueError if a column has more or fewer values than another.
    """
    columns: list[Column] = []
    form = _form(_laid(fields, columns))
    return [form % row for row in zip(*_texts(columns), strict=True)]


def with_first(key: str, values: Sequence[bytes], objects: Sequence[bytes]) -> list[bytes]:
    """Objects that are not empty, each with one more field, the first, of these JSON texts."""
    lead = b"{" + _key(key)
    return [b"%b%b,%b" % (lead, value, one[1:]) for value, one in zip(values, objects, strict=True)]


def with_last(key: str, value: bytes, one: bytes) -> bytes:
    """An object that is not empty with one more field, the last, of this JSON text."""
    return b"".join([one[:-1], b",", _key(key), value, b"}"])


def listed(values: Sequence[bytes]) -> bytes:
    """A list of JSON texts."""
    return b"[" + b",".join(values) + b"]"


def _laid(fields: Fields, columns: list[Column]) -> Keys:
    """Put the columns one after the other, and return their keys."""
    keys: list[str | tuple[str, Keys]] = []
    for name, column in fields.items():
        if isinstance(column, dict):
            keys.append((name, _laid(column, columns)))
        else:
            keys.append(name)
            columns.append(column)
    return tuple(keys)


@lru_cache(maxsize=1024)
def _form(keys: Keys) -> bytes:
    """An object with these keys, and %b for the value of each column."""
    return b"{" + b",".join([_field(key) for key in keys]) + b"}"


def _field(key: str | tuple[str, Keys]) -> bytes:
    name, value = (key, b"%b") if isinstance(key, str) else (key[0], _form(key[1]))
    return _key(name).replace(b"%", b"%%") + value


def _texts(columns: Sequence[Column]) -> Iterator[Sequence[bytes]]:
    """The columns as texts. All numbers are written at once: a call costs as much as ten of them."""
    numbers = [column for column in columns if isinstance(column, np.ndarray)]
    written = to_json(np.concatenate(numbers).tolist())[1:-1].split(b",") if numbers else []
    start = 0
    for column in columns:
        if isinstance(column, np.ndarray):
            end = start + len(column)
            yield written[start:end]
            start = end
        else:
            yield column


def _key(name: str) -> bytes:
    return to_json(name) + b":"
