"""Many rows at a time: columns that plainly fit the declaration become a matrix, without a look at each row.

Accepts and never refuses: whatever is not plainly right raises Doubt, and is judged row by row (`judge`), so
that there is one judge whose verdicts and pointers these are. Goes piece by piece: the memory of a large
body is its bytes and its matrix, and Python's lock is let go between two pieces.

Knows numpy and JSON's text; knows nothing of HTTP or of files.
"""

import re
import time
from collections.abc import Iterator, Mapping
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from service.decoder import Doubt, Rows, decoder
from service.features import Feature, Matrix
from service.protocol import MAX_ROWS
from service.spec import ModelSpec

Doubles = NDArray[np.float64]
# Bytes of JSON that are parsed at a time: some hundred rows, a millisecond or two.
PIECE = 128 * 1024
# Of a piece: what has no end of a row for so long is no list of rows, and would be parsed once more.
LARGEST = 2 * PIECE
# Shorter than a thread takes to wake up, and long enough for it.
MOMENT_S = 20e-6
INSTANCES = re.compile(rb'"instances"\s*:\s*\[')


def json_rows(spec: ModelSpec, body: bytes) -> tuple[Matrix, bytes]:
    """The rows of a JSON body as a matrix, and the same body with its first row alone. Raises Doubt.

    A list of valid rows ends at its first closing bracket. Pieces that are lists of valid rows when put in
    brackets are one list of them together. Around it may be no second one, however it is spelt.
    """
    found = INSTANCES.search(body)
    if found is None:
        raise Doubt
    start, end = found.end(), body.find(b"]", found.end())
    first = body.find(b"}", start, end) + 1
    around = body[: found.start()] + body[end:]
    if end < 0 or not first or b"\\" in around or b'"instances"' in around:
        raise Doubt
    read, parts = decoder(spec.row).rows, list[Matrix]()
    for piece in _pieces(body, start, end):
        parts.append(_from_rows(spec, read(b"[" + piece + b"]")))
        if sum(map(len, parts)) > MAX_ROWS:
            raise Doubt
        let_others_run()
    return np.concatenate(parts), body[:first] + body[end:]


def let_others_run() -> None:
    """Give the event loop its turn.

    Python makes a thread hand its lock over when another has waited for 5 ms, but that one begins to wait
    anew whenever numpy lets go of the lock for an instant: without this it waited for 300 ms.
    """
    time.sleep(MOMENT_S)


def _pieces(body: bytes, start: int, end: int) -> Iterator[bytes]:
    """The text of the list body[start:end], cut at commas between two rows."""
    while (brace := body.find(b"}", start + PIECE, end)) >= 0:
        comma = body.find(b",", brace, end)
        if comma < 0:
            break
        if comma - start > LARGEST:
            raise Doubt
        if body[brace + 1 : comma].strip():
            raise Doubt
        yield body[start:comma]
        start = comma + 1
    if end - start > LARGEST:
        raise Doubt
    yield body[start:end]


def _from_rows(spec: ModelSpec, rows: Rows) -> Matrix:
    """The matrix of rows as they were decoded. Raises Doubt."""
    found = np.empty((len(rows), len(spec.features)), np.float32)
    for place, feature in enumerate(spec.features):
        values = map(attrgetter(feature.name), rows)
        codes = map(feature.levels.__getitem__, values) if feature.levels else values
        found[:, place] = np.fromiter(codes, np.float64, len(rows))
    return _without_excess(spec, found)


def matrix(spec: ModelSpec, columns: Mapping[str, Doubles]) -> Matrix:
    """The columns, codes by feature, as float32 (n, d). Raises Doubt."""
    for feature in spec.features:
        fitting(feature, columns[feature.name])
    found = np.stack([columns[feature.name] for feature in spec.features], axis=1)
    return _without_excess(spec, found.astype(np.float32))


def _without_excess(spec: ModelSpec, matrix: Matrix) -> Matrix:
    """The same rows. Raises Doubt where a part exceeds its whole."""
    for _, part, whole in spec.row.parts():
        if (matrix[:, part] > matrix[:, whole]).any():
            raise Doubt
    return matrix


def fitting(feature: Feature, values: Doubles) -> Doubles:
    """The same values, if each is finite, within the bounds, and whole where it has to be. Raises Doubt."""
    if feature.low is not None and feature.high is not None:
        # Of a NaN, neither is true.
        if not ((values >= feature.low) & (values <= feature.high)).all():
            raise Doubt
        if feature.kind == "count" and (values != values.round()).any():
            raise Doubt
    return values
