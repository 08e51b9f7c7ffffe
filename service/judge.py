"""The one judge of what fits a declaration.

JSON and CSV bodies both end here, so they get the same verdicts and the same pointers. Knows
pydantic; knows nothing of HTTP or TensorFlow.
"""

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from service.bulk import json_rows
from service.decoder import Doubt, decoder, values_of
from service.errors import InvalidParameters, InvalidRows, MalformedBody, RefusedBody, TooLarge, Violation
from service.extent import DEPTH, narrow, shallow, values
from service.features import coded, part_violations, to_cells
from service.instances import Asked, Instances
from service.parameters import Parameters, option_violations, undefined_option
from service.protocol import MAX_ROWS, EvaluateRequest, RowsRequest, target_type
from service.spec import ModelSpec
from service.violations import Fault, envelope_violation, row_violations, value_violations

MAX_VIOLATIONS = 100
SIZES = ("too_short", "too_long")
# A larger body is read column by column: of fewer rows it costs more than it saves.
SMALL_BODY = 64 * 1024
# As many rows of CSV are judged in some milliseconds.
SMALL_ROWS = 512
# What opens or ends a row, and bytes that do neither.
MARKS = (b"{", b"\n", b"\r")
UNMARKED = bytes(set(range(256)) - {*b"".join(MARKS)})


@dataclass(frozen=True)
class Judge:
    """Decides whether a body fits one request type of one model, and says where it does not."""

    spec: ModelSpec
    request: type[RowsRequest[Any]]
    # Levels of lists and objects in a JSON body.
    depth: int = DEPTH

    @cached_property
    def labelled(self) -> bool:
        """Whether the request carries targets."""
        return issubclass(self.request, EvaluateRequest)

    @property
    def parameters(self) -> type[Parameters]:
        """The type of the request's options."""
        kind = self.request.model_fields["parameters"].annotation
        assert isinstance(kind, type) and issubclass(kind, Parameters)  # noqa: PT018
        return kind

    def json(self, body: bytes) -> Asked:
        """Validate a JSON body. Raises MalformedBody, InvalidRows, InvalidParameters or TooLarge."""
        if len(body) <= SMALL_BODY and not self.labelled:
            try:
                return self._small(body)
            except (Doubt, ValidationError):
                pass  # to be told what is wrong and where
        body = self.bounded(body).removeprefix(codecs.BOM_UTF8)
        if not body or body.isspace():
            raise MalformedBody(f"The body is empty; send {self._shape}.")
        if len(body) > SMALL_BODY:
            try:
                return self._many(body)
            except (Doubt, ValueError):
                pass  # row by row, to be sure, or to say what is wrong and where
        try:
            document = from_json(body)
        except ValueError as error:
            raise MalformedBody(f"The body is not valid JSON: {error}. Send a JSON object.") from None
        return self.document(narrow(document))

    def bounded(self, text: bytes) -> bytes:
        """The same JSON text, which may be parsed.

        Raises MalformedBody if it nests too deep, TooLarge if it holds more than the rows of a request do.
        """
        # In the most roundabout form each value is a list of its own, and there are targets.
        most = MAX_ROWS * 2 * (len(self.spec.features) + 4)
        if len(text) > most and values(text) > most:
            raise TooLarge(
                f"The body holds more values than {MAX_ROWS:,} rows can have; send several requests."
            )
        return shallow(text, self.depth)

    def _small(self, body: bytes) -> Asked:
        """Validate a JSON body of few rows. Raises Doubt, ValidationError or InvalidRows."""
        rows, options = decoder(self.spec.row).request(body)
        if options:
            self._look_through(body)
        # First: where options and rows are wrong, both are told together, and not here.
        parameters = self._options(options)
        instances = Instances(coded(self.spec.row, [list(values_of(row)) for row in rows]))
        return self._without_excess(instances), parameters

    def _look_through(self, body: bytes) -> None:
        """Raise Doubt where options may stand there twice, and MalformedBody where they nest too deep.

        Of equal ones the last counts, and the decoder skips the others unread.
        """
        if body.count(b"parameters") > 1 or b"\\" in body:
            raise Doubt
        shallow(body, self.depth)

    def _many(self, body: bytes) -> Asked:
        """Validate a JSON body of many rows by columns. Raises Doubt, ValidationError or InvalidRows."""
        matrix, rest = json_rows(self.spec, body)
        request = self.request.model_validate(narrow(from_json(rest)))
        if len(request.instances) != 1 or len(matrix) > MAX_ROWS:
            raise Doubt
        return Instances(matrix, self._codes(request, len(matrix))), request.parameters

    def document(self, document: Any, ids: Sequence[int] | None = None) -> Asked:
        """Validate an envelope that was read, from JSON or CSV, with the ids that its rows came with."""
        try:
            return self._asked(self.request.model_validate(document), ids)
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False)
            raise self._refusal(faults, document) from None

    def _asked(self, request: RowsRequest[Any], ids: Sequence[int] | None = None) -> Asked:
        cells = to_cells(self.spec.row, request.instances)
        instances = Instances(cells, self._codes(request, len(cells)), ids)
        return self._without_excess(instances), request.parameters

    def _without_excess(self, instances: Instances) -> Instances:
        """The same instances. Raises InvalidRows where a part exceeds its whole."""
        if self.spec.parts:
            refuse(list(islice(part_violations(self.spec.row, instances.cells), MAX_VIOLATIONS)))
        return instances

    def _options(self, text: bytes) -> Parameters:
        """The options of a request, by their JSON. Raises Doubt or ValidationError."""
        if text:
            return self.parameters.model_validate_json(text)
        if self._default is None:
            raise Doubt
        return self._default

    @cached_property
    def _default(self) -> Parameters | None:
        """The options of a request that names none; None where it has to name one."""
        return None if self.request.model_fields["parameters"].is_required() else self.parameters()

    def _codes(self, request: RowsRequest[Any], rows: int) -> NDArray[np.float64] | None:
        """The targets as codes, (n,), where the request carries them."""
        if not isinstance(request, EvaluateRequest):
            return None
        targets = len(request.targets)
        if targets != rows:
            detail = f"{targets} targets for {rows} instances; send one target for each instance."
            refuse([Violation("#/targets", detail, "length_mismatch")])
        return np.asarray([self.spec.target.code(target) for target in request.targets], np.float64)

    def _refusal(self, faults: list[Fault], document: Any) -> RefusedBody | TooLarge:
        """Turn the first fault that pydantic met into everything the caller has to mend."""
        envelope = [fault for fault in faults if len(fault["loc"]) < 2 and fault["type"] not in SIZES]
        if envelope or not isinstance(document, Mapping):
            found = dict.fromkeys(envelope_violation(fault, self._shape) for fault in envelope)
            return MalformedBody(f"The body is not {self._shape}.", list(found)[:MAX_VIOLATIONS])
        if any(len(document.get(key) or ()) > MAX_ROWS for key in ("instances", "targets")):
            return TooLarge(f"A request may hold at most {MAX_ROWS:,} rows; send several requests.")
        options = [fault for fault in faults if fault["loc"][0] == "parameters"]
        if any(fault["type"] == "extra_forbidden" for fault in options):
            undefined = undefined_option(self.parameters)
            return MalformedBody(undefined.detail, [undefined])
        wrong = list(option_violations(self.parameters, options))
        violations = [*wrong, *self._violations(document)][:MAX_VIOLATIONS]
        kind = InvalidParameters if wrong else InvalidRows
        return kind(refusal(violations), violations)

    @property
    def _shape(self) -> str:
        targets = ', "targets": [target, ...]' if self.labelled else ""
        if self.request.model_fields["parameters"].is_required():
            return (
                f'an object {{"instances": [row, ...]{targets}, "parameters": {{...}}}} with no other field'
            )
        return f'an object {{"instances": [row, ...]{targets}}} with no other field than "parameters"'

    def _violations(self, document: Mapping[str, Any]) -> list[Violation]:
        validate = self._target.validate_python

        def found() -> Iterator[Violation]:
            for key in ("instances", "targets") if self.labelled else ("instances",):
                if not document[key]:
                    yield Violation(f"#/{key}", f"{key} is empty; send at least one.", "empty")
            for index, item in enumerate(document["instances"]):
                yield from row_violations(self.spec, item, f"#/instances/{index}")
            for index, item in enumerate(document["targets"] if self.labelled else ()):
                yield from value_violations(validate, self.spec.target, item, f"#/targets/{index}")

        return list(islice(found(), MAX_VIOLATIONS))

    @cached_property
    def _target(self) -> TypeAdapter[Any]:
        return TypeAdapter(target_type(self.spec.target))


def small(body: bytes) -> bool:
    """Whether a body is judged in a moment. A row takes two bytes, of which one opens or ends it."""
    if len(body) <= 2 * SMALL_ROWS or len(body) > SMALL_BODY:
        return len(body) <= SMALL_BODY
    # To count each in the whole body takes two and a half times as long.
    marks = body.translate(None, UNMARKED)
    return all(marks.count(mark) <= SMALL_ROWS for mark in MARKS)


def refuse(violations: Sequence[Violation]) -> None:
    """Raise InvalidRows if there is any violation."""
    if violations:
        raise InvalidRows(refusal(violations), violations)


def refusal(violations: Sequence[Violation]) -> str:
    """What is said of a request with these violations, before each of them."""
    many = f"At least {MAX_VIOLATIONS}" if len(violations) == MAX_VIOLATIONS else str(len(violations))
    places = "place breaks" if len(violations) == 1 else "places break"
    return f"{many} {places} the declaration of this model; `errors` names each and says what is allowed."
