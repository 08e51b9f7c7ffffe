"""What a caller reads about a row that breaks its declaration: where, what is allowed, what to do.

Translates pydantic's faults. Says the names that the declaration knows and no other word of the
request: a value can slip into a key or a heading as well.
"""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.errors import Violation
from service.features import Feature, exceeds_whole
from service.spec import ModelSpec

Fault = ErrorDetails
Validate = Callable[[Any], Any]

CODES = {
    "missing": ("missing", "is missing"),
    "finite_number": ("not_finite", "is not a finite number"),
    "greater_than_equal": ("out_of_range", "is outside the physical range"),
    "less_than_equal": ("out_of_range", "is outside the physical range"),
    "multiple_of": ("not_whole", "is not a whole number"),
    "literal_error": ("unknown_level", "is not one of its levels"),
}


def row_violations(spec: ModelSpec, item: Any, pointer: str) -> Iterator[Violation]:
    """Yield every violation of one instance, each with its pointer below `pointer`."""
    if isinstance(item, Mapping) and len(item) > 2 * len(spec.features):
        detail = f"The row has {len(item)} fields, the declaration {len(spec.features)}; {_allowed(spec)}."
        yield Violation(pointer, detail, "unknown_field")
        return
    features = {feature.name: feature for feature in spec.features}
    faults = _faults(spec.row.model_validate, item)
    for part in [] if faults else spec.parts:
        # As the matrix compares them, in float32.
        if np.float32(item[part.name]) > np.float32(item[part.at_most]):
            yield exceeds_whole(part, pointer)
    for fault in faults:
        if not fault["loc"]:
            yield Violation(pointer, "The row is not an object; give {feature: value, ...}.", "wrong_type")
        elif fault["type"] == "extra_forbidden":
            yield _unknown_field(spec, list(item), str(fault["loc"][0]), pointer)
        else:
            name = str(fault["loc"][0])
            yield _violation(features[name], fault["type"], f"{pointer}/{name}")


def value_violations(validate: Validate, feature: Feature, item: Any, pointer: str) -> Iterator[Violation]:
    """Yield the violation of one value, or nothing."""
    for fault in _faults(validate, item):
        yield _violation(feature, fault["type"], pointer)


def envelope_violation(fault: Fault, shape: str) -> Violation:
    """The violation of a body that is not of the documented shape."""
    known = [str(part) for part in fault["loc"] if part in ("instances", "targets", "parameters")]
    pointer = "#/" + "/".join(known) if known else "#"
    if fault["type"] == "missing":
        return Violation(pointer, f"{known[0]} is missing; send {shape}.", "missing")
    if fault["type"] == "extra_forbidden":
        return Violation("#", f"The body has a field that is not defined; send {shape}.", "unknown_field")
    return Violation(pointer, f"This has the wrong type; send {shape}.", "wrong_type")


def _faults(validate: Validate, item: Any) -> list[Fault]:
    try:
        validate(item)
    except ValidationError as error:
        return error.errors(include_input=False, include_url=False)
    return []


def _violation(feature: Feature, kind: str, pointer: str) -> Violation:
    code, fault = CODES.get(kind, ("wrong_type", "has the wrong type"))
    return Violation(pointer, f"{feature.name} {fault}; give {feature.allowed}.", code)


def _unknown_field(spec: ModelSpec, names: list[str], name: str, pointer: str) -> Violation:
    """Refuse a field by its name if the declaration has that word, else by its place in the row."""
    if name in spec.headings:
        return Violation(
            f"{pointer}/{name}", f"{name} is not a feature here; {_allowed(spec)}.", "unknown_field"
        )
    place = f"Field {names.index(name) + 1} of the row is not declared"
    close = get_close_matches(name[:100].lower(), [feature.name for feature in spec.features], n=1)
    hint = f"did you mean {close[0]}?" if close else f"{_allowed(spec)}."
    return Violation(pointer, f"{place}; {hint}", "unknown_field")


def _allowed(spec: ModelSpec) -> str:
    return "allowed are " + ", ".join(feature.name for feature in spec.features)
