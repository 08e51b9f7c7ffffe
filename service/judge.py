"""The one judge of what fits a declaration.

JSON and CSV bodies both end here, so they get the same verdicts and the same pointers. Knows
pydantic; knows nothing of HTTP or TensorFlow.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from service.errors import InvalidRows, MalformedBody, TooLarge, Violation
from service.features import Feature, Matrix, Row, part_violations, to_matrix
from service.protocol import MAX_ROWS, EvaluateRequest, PredictRequest, target_type
from service.spec import ModelSpec

MAX_VIOLATIONS = 100
SIZES = ("too_short", "too_long")
# A field name that a program chose, not a person's name or a value that slipped into a key.
FIELD_NAME = re.compile(r"[a-z][a-z0-9]*([_ ][a-z0-9]+)*")


@dataclass(frozen=True)
class Instances:
    """A validated request: float32 (n, d) rows and, where the body brought them, n codes and n ids."""

    matrix: Matrix
    targets: NDArray[np.float64] | None = None
    ids: Sequence[int] | None = None


@dataclass(frozen=True)
class Judge:
    """Decides whether a body fits one request type of one model, and says where it does not."""

    spec: ModelSpec
    request: type[PredictRequest[Any]]

    @property
    def labelled(self) -> bool:
        """Whether the request carries targets."""
        return issubclass(self.request, EvaluateRequest)

    def json(self, body: bytes) -> Instances:
        """Validate a JSON body. Raises MalformedBody, InvalidRows or TooLarge."""
        try:
            return self._instances(self.request.model_validate_json(body))
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            if first["type"] == "json_invalid":
                reason = first["ctx"]["error"]
                raise MalformedBody(f"The body is not valid JSON: {reason}. Send a JSON object.") from None
            raise self._refusal(error, from_json(body)) from None

    def document(self, document: Mapping[str, Any], ids: Sequence[int] | None = None) -> Instances:
        """Validate rows that were read from something other than JSON, with the ids they came with."""
        try:
            return self._instances(self.request.model_validate(document), ids)
        except ValidationError as error:
            raise self._refusal(error, document) from None

    def _instances(self, request: PredictRequest[Any], ids: Sequence[int] | None = None) -> Instances:
        rows = len(request.instances)
        matrix = to_matrix(self.spec.row, request.instances)
        refuse(list(islice(part_violations(self.spec.row, matrix), MAX_VIOLATIONS)))
        if not isinstance(request, EvaluateRequest):
            return Instances(matrix, ids=ids)
        if len(request.targets) != rows:
            detail = (
                f"{len(request.targets)} targets for {rows} instances; send one target for each instance."
            )
            refuse([Violation("#/targets", detail, "length_mismatch")])
        codes = [self.spec.target.code(target) for target in request.targets]
        return Instances(matrix, np.asarray(codes, np.float64), ids)

    def _refusal(self, error: ValidationError, document: Any) -> Exception:
        """Turn the first fault that pydantic met into everything the caller has to mend."""
        faults = error.errors(include_input=False, include_url=False)
        envelope = [fault for fault in faults if len(fault["loc"]) < 2 and fault["type"] not in SIZES]
        if envelope or not isinstance(document, Mapping):
            return MalformedBody(
                f"The body is not {self._shape}.",
                [_envelope_violation(fault, self._shape) for fault in envelope],
            )
        if any(len(document.get(key) or ()) > MAX_ROWS for key in ("instances", "targets")):
            return TooLarge(f"A request may hold at most {MAX_ROWS:,} rows; send several requests.")
        if any(fault["loc"][0] == "parameters" for fault in faults):
            detail = "parameters holds a name that is not defined; no parameter is defined yet, leave it out."
            return MalformedBody(detail, [Violation("#/parameters", detail, "unknown_field")])
        return invalid(self._violations(document))

    @property
    def _shape(self) -> str:
        targets = ', "targets": [target, ...]' if self.labelled else ""
        return f'an object {{"instances": [row, ...]{targets}}} with no other field than "parameters"'

    def _violations(self, document: Mapping[str, Any]) -> list[Violation]:
        def found() -> Any:
            for key in ("instances", "targets") if self.labelled else ("instances",):
                if not document[key]:
                    yield Violation(f"#/{key}", f"{key} is empty; send at least one.", "empty")
            for index, item in enumerate(document["instances"]):
                yield from row_violations(self.spec.row, item, f"#/instances/{index}")
            for index, item in enumerate(document["targets"] if self.labelled else ()):
                yield from self._target_violations(item, f"#/targets/{index}")

        return list(islice(found(), MAX_VIOLATIONS))

    @cached_property
    def _target(self) -> TypeAdapter[Any]:
        return TypeAdapter(target_type(self.spec.target))

    def _target_violations(self, item: Any, pointer: str) -> list[Violation]:
        try:
            self._target.validate_python(item)
        except ValidationError as error:
            kind = error.errors(include_input=False, include_url=False)[0]["type"]
            return [_value_violation(self.spec.target, kind, pointer)]
        return []


def refuse(violations: Sequence[Violation]) -> None:
    """Raise InvalidRows if there is any violation."""
    if violations:
        raise invalid(violations)


def invalid(violations: Sequence[Violation]) -> InvalidRows:
    """The refusal of rows with these violations."""
    many = f"At least {MAX_VIOLATIONS}" if len(violations) == MAX_VIOLATIONS else str(len(violations))
    places = "place breaks" if len(violations) == 1 else "places break"
    detail = f"{many} {places} the declaration of this model; `errors` names each and says what is allowed."
    return InvalidRows(detail, violations)


def row_violations(row: type[Row], item: Any, pointer: str) -> list[Violation]:
    """Return every violation of one instance, each with its pointer below `pointer`."""
    features = {feature.name: feature for feature in row.features()}
    try:
        row.model_validate(item)
    except ValidationError as error:
        return [
            _row_violation(features, fault, pointer)
            for fault in error.errors(include_input=False, include_url=False)
        ]
    return []


FAULTS = {
    "missing": ("missing", "is missing"),
    "finite_number": ("not_finite", "is not a finite number"),
    "greater_than_equal": ("out_of_range", "is outside the physical range"),
    "less_than_equal": ("out_of_range", "is outside the physical range"),
    "multiple_of": ("not_whole", "is not a whole number"),
    "literal_error": ("unknown_level", "is not one of its levels"),
}


def _value_violation(feature: Feature, kind: str, pointer: str) -> Violation:
    code, fault = FAULTS.get(kind, ("wrong_type", "has the wrong type"))
    return Violation(pointer, f"{feature.name} {fault}; give {feature.allowed}.", code)


def _row_violation(features: Mapping[str, Feature], fault: Any, pointer: str) -> Violation:
    if not fault["loc"]:
        return Violation(pointer, "The row is not an object; give {feature: value, ...}.", "wrong_type")
    name = str(fault["loc"][0])
    if fault["type"] != "extra_forbidden":
        return _value_violation(features[name], fault["type"], f"{pointer}/{name}")
    listed = ", ".join(features)
    if not FIELD_NAME.fullmatch(name) or len(name) > 40:
        # Not a name that a program would choose: it may be a value, and values are not repeated.
        return Violation(
            pointer, f"The row has a field that is not declared; allowed: {listed}.", "unknown_field"
        )
    return Violation(
        f"{pointer}/{name}", f"{name} is not declared; remove it. Allowed: {listed}.", "unknown_field"
    )


def _envelope_violation(fault: Any, shape: str) -> Violation:
    known = [str(part) for part in fault["loc"] if part in ("instances", "targets", "parameters")]
    pointer = "#/" + "/".join(known) if known else "#"
    if fault["type"] == "missing":
        return Violation(pointer, f"{known[0]} is missing; send {shape}.", "missing")
    if fault["type"] == "extra_forbidden":
        return Violation("#", f"The body has a field that is not defined; send {shape}.", "unknown_field")
    return Violation(pointer, f"This has the wrong type; send {shape}.", "wrong_type")
