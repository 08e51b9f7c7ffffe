"""The vocabulary of declarations: quantity, count, flag, category, and the Row they stand in.

A row is declared once. Validation, OpenAPI, the reading of CSV and the check of an artifact all read
that declaration. Knows pydantic and numpy; knows nothing of HTTP, TensorFlow or any one model.

    class Wine(Row):
        alcohol: Annotated[float, quantity("alcohol", unit="% vol", low=0, high=25, source="alcohol")]
        type: Annotated[str, category("colour", levels={"white": 0, "red": 1}, source="red")]
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from operator import attrgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from service.errors import Violation

Kind = Literal["quantity", "count", "flag", "category"]
Value = float | int | bool | str
Matrix = NDArray[np.float32]
# Rows of codes, in declared order: as lists where they are few, else as a matrix.
Cells = Sequence[Sequence[float]] | Matrix


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One declared column: what it means, in which unit, and which values can exist.

    `low` and `high` are physical bounds, both allowed; outside them a value cannot be right and is
    refused. What was merely not seen in training stands in the manifest, not here. `levels` maps the
    public name of each level to its code in the source table and in the matrix. `source` is the
    column's name in the published table; `at_most` names a feature that this one is a part of.
    """

    kind: Kind
    meaning: str
    source: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    levels: Mapping[str, int] = field(default_factory=dict)
    at_most: str | None = None
    name: str = ""

    @property
    def allowed(self) -> str:
        """The allowed values as a noun phrase, for error messages and docs."""
        if self.kind == "flag":
            return "true or false"
        if self.kind == "category":
            return "one of " + ", ".join(f'"{level}"' for level in self.levels)
        noun = "a whole number" if self.kind == "count" else "a number"
        bound = f" and at most {self.at_most}" if self.at_most else ""
        return f"{noun} from {self.low:g} to {self.high:g} {self.unit}".rstrip() + bound

    @cached_property
    def _names(self) -> dict[int, str]:
        """The public name of each level by its code."""
        return {code: level for level, code in self.levels.items()}

    def named(self, name: str) -> "Feature":
        """The same feature under a public name; rows name theirs by the field they stand in."""
        return replace(self, name=name)

    def code(self, value: Value) -> float:
        """The number that stands for a validated value in the matrix."""
        if isinstance(value, str):
            return self.levels[value]
        # Validation takes 5.9999999999 for whole; as a class it must not be cut to 5.
        return float(round(value)) if self.kind == "count" else float(value)

    def value(self, code: float) -> Value:
        """The public value of a matrix entry; the inverse of `code`."""
        if self.kind == "category":
            return self._names[round(code)]
        if self.kind == "flag":
            return bool(round(code))
        # The shortest decimal of the float32, 3.16 and not 3.1600000858306885.
        return round(code) if self.kind == "count" else float(str(np.float32(code)))

    def parse(self, cell: str) -> Value:
        """Read a CSV cell: a public value, or for levels and flags the source table's code.

        A cell that is none of these comes back unchanged, for validation to refuse like any other
        wrong value: there is one judge, for JSON and CSV alike.
        """
        text = cell.strip()
        if self.kind == "flag":
            return {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)
        if self.kind == "category":
            codes = {str(code): level for level, code in self.levels.items()}
            return codes.get(text, text)
        return number(text)

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return self.schema

    @property
    def schema(self) -> CoreSchema:
        """Validates strictly: a boolean is no number, a string is no number, 62.0 is a whole number."""
        if self.kind == "flag":
            return core_schema.bool_schema(strict=True)
        if self.kind == "category":
            return core_schema.literal_schema(list(self.levels))
        whole = 1.0 if self.kind == "count" else None
        return core_schema.float_schema(
            strict=True, allow_inf_nan=False, ge=self.low, le=self.high, multiple_of=whole
        )

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Document the same rules, with the unit and the source column as `x-` keywords."""
        schema: JsonSchemaValue = {"description": self.meaning, "x-source": self.source}
        if self.unit:
            schema["x-unit"] = self.unit
            schema["description"] += f", {self.unit}"
        if self.kind == "flag":
            return schema | {"type": "boolean"}
        if self.kind == "category":
            return schema | {"type": "string", "enum": list(self.levels)}
        if self.at_most:
            schema["description"] += f"; not above {self.at_most}"
        number = "integer" if self.kind == "count" else "number"
        return schema | {"type": number, "minimum": self.low, "maximum": self.high}


def number(text: str) -> float | str:
    """The number that a text reads as, or else the text, for validation to refuse."""
    try:
        # Python would also read 1_000 and the digits of other scripts.
        return float(text) if text.isascii() and "_" not in text else text
    except ValueError:
        return text


def quantity(
    meaning: str, *, unit: str, low: float, high: float, source: str, at_most: str | None = None
) -> Feature:
    """Declare a real number in a unit, with the physical bounds that include both ends."""
    return Feature(
        kind="quantity", meaning=meaning, unit=unit, low=low, high=high, source=source, at_most=at_most
    )


def count(meaning: str, *, low: int, high: int, source: str, unit: str = "") -> Feature:
    """Declare a whole number; 62 and 62.0 are the same one, as in JSON Schema."""
    return Feature(kind="count", meaning=meaning, unit=unit, low=low, high=high, source=source)


def flag(meaning: str, *, source: str) -> Feature:
    """Declare something that is so or not: true or false in JSON, 1.0 or 0.0 in the matrix."""
    return Feature(kind="flag", meaning=meaning, source=source)


def category(meaning: str, *, levels: Mapping[str, int], source: str) -> Feature:
    """Declare one of several named levels, each with its code in the source table and the matrix."""
    return Feature(kind="category", meaning=meaning, levels=dict(levels), source=source)


class Row(BaseModel):
    """One instance. Subclasses declare each field as `Annotated[type, Feature]`, in matrix order."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    @cache
    def features(cls) -> tuple[Feature, ...]:
        """The declared features, in the order of the matrix's columns."""
        return tuple(
            item.named(name)
            for name, declared in cls.model_fields.items()
            for item in declared.metadata
            if isinstance(item, Feature)
        )

    @classmethod
    @cache
    def reader(cls) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[tuple[int, Mapping[str, int]], ...]]:
        """What reads a row's values in order, and the place and the codes of each category."""
        features = cls.features()
        names = [feature.name for feature in features]
        # Of a single name, attrgetter would return the bare value.
        values = attrgetter(*names) if len(names) > 1 else lambda row: (getattr(row, names[0]),)
        coded = ((place, feature.levels) for place, feature in enumerate(features) if feature.levels)
        return values, tuple(coded)

    @classmethod
    @cache
    def parts(cls) -> tuple[tuple[Feature, int, int], ...]:
        """Each feature that is a part of another one, with its own place and its whole's."""
        places = {feature.name: place for place, feature in enumerate(cls.features())}
        return tuple(
            (feature, places[feature.name], places[feature.at_most])
            for feature in cls.features()
            if feature.at_most
        )


def to_cells(row: type[Row], rows: Sequence[Row]) -> Cells:
    """Return the codes of each row, in declared order and units: categories and flags as numbers."""
    values, _ = row.reader()
    return coded(row, [list(values(item)) for item in rows])


def coded(row: type[Row], cells: list[list[Any]]) -> Cells:
    """Put the codes of levels in the place of their names, and return the same rows."""
    for place, levels in row.reader()[1]:
        for cell in cells:
            cell[place] = levels[cell[place]]
    return cells


def to_matrix(row: type[Row], rows: Sequence[Row]) -> Matrix:
    """Return the same as float32 of shape (n_rows, n_features); nothing is rescaled."""
    return np.asarray(to_cells(row, rows), np.float32)


def part_violations(row: type[Row], cells: Cells) -> Iterator[Violation]:
    """Yield a violation for each value that exceeds, in float32, the feature it is a part of."""
    for feature, part, whole in row.parts():
        for index, cell in enumerate(cells):
            # What is not larger in float64 is not larger in float32.
            if cell[part] > cell[whole] and np.float32(cell[part]) > np.float32(cell[whole]):
                yield exceeds_whole(feature, f"#/instances/{index}")


def exceeds_whole(feature: Feature, pointer: str) -> Violation:
    """The violation of a part that is larger than its whole, in the row at `pointer`."""
    return Violation(
        f"{pointer}/{feature.name}",
        f"{feature.name} is a part of {feature.at_most} and cannot exceed it; "
        f"check both values and their units ({feature.unit}).",
        "exceeds_whole",
    )
