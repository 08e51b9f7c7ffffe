"""JSON that plainly fits a declaration: rows decoded and held to their bounds in one pass, by msgspec.

Accepts and never refuses: whatever is not plainly right raises Doubt, and is judged by the types of
`protocol`, which say what is wrong and where. Many rows are judged in half of the time (benchmarks/NOTES.md).

Knows msgspec and the vocabulary of features; knows nothing of HTTP or of files.
"""

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Literal

import msgspec

from service.features import Feature, Row

# Objects with an attribute for each feature, in declared order, and what gives their values in a tuple.
Rows = Sequence[msgspec.Struct]
values_of = msgspec.structs.astuple


class Doubt(Exception):
    """Something that is not plainly right: let it be judged row by row."""


class Decoder:
    """Reads the JSON of one declared row's type."""

    def __init__(self, row: type[Row]) -> None:
        """Read rows of this type: every field, of equal ones the last, and no other."""
        fields = [(feature.name, _type_of(feature)) for feature in row.features()]
        # No row holds anything that could hold it in turn: the collector need not look at them.
        struct: Any = msgspec.defstruct(row.__name__, fields, forbid_unknown_fields=True, gc=False)
        rows = Annotated[list[struct], msgspec.Meta(min_length=1)]
        request = msgspec.defstruct(
            "Request",
            [("instances", rows), ("parameters", msgspec.Raw, msgspec.Raw())],
            forbid_unknown_fields=True,
        )
        self._rows = msgspec.json.Decoder(rows)
        self._request = msgspec.json.Decoder(request)

    def rows(self, text: bytes) -> Rows:
        """The rows of a list. Raises Doubt."""
        rows: Rows = _decoded(self._rows, text)
        return rows

    def request(self, body: bytes) -> tuple[Rows, bytes]:
        """The rows of a request and the JSON of its options, b"" where there is none. Raises Doubt."""
        request = _decoded(self._request, body)
        return request.instances, bytes(request.parameters)


@cache
def decoder(row: type[Row]) -> Decoder:
    """The decoder of a row's type."""
    return Decoder(row)


def _type_of(feature: Feature) -> Any:
    """What msgspec takes for a value of the feature; strictly: a boolean is no number, a string is none."""
    if feature.kind == "flag":
        return bool
    if feature.kind == "category":
        return Literal[tuple(feature.levels)]
    whole = 1.0 if feature.kind == "count" else None
    return Annotated[float, msgspec.Meta(ge=feature.low, le=feature.high, multiple_of=whole)]


def _decoded(decoder: msgspec.json.Decoder[Any], text: bytes) -> Any:
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError):
        # It may quote a value.
        raise Doubt from None
