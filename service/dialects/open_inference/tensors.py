"""The tensors of the Open Inference Protocol: declared datatypes and shapes, JSON's lists and raw bytes.

Sizes are compared before anything is read: a shape is what it says only if exactly so many values, or bytes,
came with it. Knows numpy; knows neither HTTP nor models.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import MalformedBody, TooLarge
from service.protocol import MAX_ROWS

# What a number is in numpy, little-endian as the protocol has it.
DTYPES: dict[str, str] = {
    "BOOL": "?",
    "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
BYTES = "BYTES"
# The types of JSON's values that may stand for a datatype.
KINDS: dict[str, set[type]] = {"BOOL": {bool}, "FP32": {int, float}, "FP64": {int, float}, BYTES: {str}}
LENGTH = 4


def of_bytes(datatype: str, shape: Sequence[int], data: bytes, start: int, size: int) -> NDArray[Any]:
    """The tensor that stands in `size` bytes from `start` on, without a copy where its place allows it.

    BYTES become an array of objects, texts in UTF-8. Raises MalformedBody, and TooLarge for too many of them.
    """
    count = math.prod(shape)
    if datatype == BYTES:
        # As texts they take fifty times the memory, and each takes Python's lock.
        if MAX_ROWS < count <= size // LENGTH:
            raise TooLarge(f"A request may hold at most {MAX_ROWS:,} rows; send several requests.")
        return _shaped(_texts(data[start : start + size], count), shape)
    dtype = np.dtype(DTYPES[datatype])
    if size != count * dtype.itemsize:
        raise MalformedBody(
            f"The bytes of a tensor are not as many as its shape and datatype take: {dtype.itemsize} each."
        )
    array = np.frombuffer(data, dtype, count, start)
    if datatype == "BOOL" and (array.view(np.uint8) > 1).any():
        raise MalformedBody("A tensor of BOOL has a byte that is neither 0 nor 1.")
    # TensorFlow and numpy are quicker with numbers that lie at multiples of their size.
    return _shaped(array if array.flags.aligned else array.copy(), shape)


def of_json(datatype: str, shape: Sequence[int], data: Any) -> NDArray[Any]:
    """The tensor of a JSON list, nested as its shape is or flat. Raises MalformedBody."""
    flat = _flat(data, shape)
    if not set(map(type, flat)) <= KINDS.get(datatype, {int}):
        raise MalformedBody("A value of a tensor's data is not of its datatype.")
    if datatype == BYTES:
        return _shaped(np.fromiter(flat, object, len(flat)), shape)
    try:
        with np.errstate(over="ignore"):
            wide = np.array(flat, np.float64 if datatype == "FP32" else DTYPES[datatype])
            array = wide.astype(DTYPES[datatype], copy=False)
    except OverflowError:
        raise _beyond() from None
    if datatype == "FP32" and (np.isinf(array) & np.isfinite(wide)).any():
        raise _beyond()
    return _shaped(array, shape)


def is_nested(data: Any) -> bool:
    """Whether a JSON list holds lists."""
    return isinstance(data, list) and bool(data) and isinstance(data[0], list)


def _beyond() -> MalformedBody:
    return MalformedBody("A value of a tensor's data is beyond what its datatype holds.")


def _shaped(array: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    """The array in a shape that takes as many values: none at all fit one of 0 rows and any width."""
    try:
        return array.reshape(shape)
    except (OverflowError, ValueError):
        raise MalformedBody(
            "The shape of a tensor is larger than any memory; give that of its data."
        ) from None


def _flat(data: Any, shape: Sequence[int]) -> list[Any]:
    """The values of a list in row-major order, if it is nested as `shape` says, or not at all."""
    parts: list[Any] = [data]
    for size in shape if is_nested(data) else [math.prod(shape)]:
        if not all(isinstance(part, list) and len(part) == size for part in parts):
            raise MalformedBody("The data of a tensor is no list of as many values as its shape says.")
        parts = list(chain.from_iterable(parts))
    return parts


def _texts(data: bytes, count: int) -> NDArray[Any]:
    """So many texts, each after its length, which together take exactly all the bytes."""
    found, place = np.empty(count if LENGTH * count <= len(data) else 0, object), 0
    for number in range(len(found)):
        end = place + LENGTH + int.from_bytes(data[place : place + LENGTH], "little")
        # Bytes that are no text are the name of no level.
        found[number] = data[place + LENGTH : end].decode(errors="replace")
        place = end
    if place != len(data) or len(found) != count:
        raise MalformedBody("The bytes of a tensor of BYTES are not as many texts as its shape says.")
    return found


def to_bytes(array: NDArray[np.float32]) -> bytes:
    """The bytes of an output, row-major and little-endian."""
    return array.astype("<f4", copy=False).tobytes()
