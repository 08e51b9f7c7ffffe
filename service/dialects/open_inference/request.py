"""One request for inference: its bytes into instances, the outputs that it asks for into bytes.

JSON alone, JSON with the bytes of tensors behind it, or the bytes of one tensor and nothing else, as the
header Inference-Header-Content-Length says. Knows no HTTP library.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from service.dialects.open_inference import tensors
from service.dialects.open_inference.protocol import InferRequest, Input, Parameters
from service.errors import MalformedBody, Violation
from service.extent import narrow
from service.features import Feature
from service.inference import Raw
from service.instances import Asked, Instances
from service.judge import Judge, refuse
from service.registry import Servable
from service.spec import ModelSpec
from service.tasks import Outputs
from service.tensors import Pointer, from_columns, from_matrix, refuse_names

# The graph's own input, a matrix of codes.
MATRIX = "x"
SIZE, ALL_BINARY, BINARY = "binary_data_size", "binary_data_output", "binary_data"
# What Triton would do something else for, so that it must not be passed over.
OTHERWISE = ("shared_memory", "sequence", "classification")
SHAPE = (
    'an object {"inputs": [{"name", "shape", "datatype", "data"}, ...]} with, if you like, "id", "parameters"'
    ' and "outputs": [{"name"}, ...]'
)


class Inference:
    """One request, from its reading to the wording of its answer."""

    def __init__(self, judge: Judge, header: bytes | None) -> None:
        """Judged by `judge`; `header` is the value of Inference-Header-Content-Length, None without one."""
        self._judge, self._spec = judge, judge.spec
        self._named = {feature.name: feature for feature in judge.spec.features}
        self._header = header.strip() if header is not None else None
        self._id: str | None = None
        # The outputs that are asked for, and whether as bytes.
        self._outputs: list[tuple[str, bool]] = []
        # The bytes of JSON that the answer begins with, None if it is nothing else; known once it is worded.
        self.json_size: int | None = None

    def read(self, body: bytes) -> Asked:
        """Read and judge a body. Raises MalformedBody, InvalidRows or TooLarge."""
        size = self._size(body)
        if self._header is not None and size == 0:
            return self._matrix_alone(body), Raw(self.word)
        try:
            request = InferRequest.model_validate(narrow(from_json(self._judge.bounded(body[:size]))))
        except ValidationError as error:
            raise _malformed(error) from None
        except ValueError as error:
            raise MalformedBody(f"The body is not valid JSON: {error}. Send {SHAPE}.") from None
        for part in (request, *request.inputs, *request.outputs):
            _refuse_parameters(part.parameters)
        self._id = request.id
        self._outputs = self._asked(request)
        return self._instances(request.inputs, body, size), Raw(self.word)

    def _size(self, body: bytes) -> int:
        """The bytes of JSON at the beginning of the body."""
        if self._header is None:
            return len(body)
        # int() would read other scripts' digits, and thousands of them.
        if not (self._header.isdigit() and len(self._header) < 20 and int(self._header) <= len(body)):
            raise MalformedBody(
                "Inference-Header-Content-Length is not the number of bytes of JSON at the start of the body."
            )
        return int(self._header)

    def _matrix_alone(self, body: bytes) -> Instances:
        """The rows of a body that is the matrix itself."""
        width = len(self._spec.features)
        rows = len(body) // (np.dtype(tensors.DTYPES["FP32"]).itemsize * width)
        self._outputs = [(output.name, True) for output in self._spec.outputs]
        matrix = tensors.of_bytes("FP32", (rows, width), body, 0, len(body))
        return from_matrix(self._spec, matrix, _cell(self._spec, flat=False))

    def _asked(self, request: InferRequest) -> list[tuple[str, bool]]:
        """The outputs that are asked for, and whether as bytes."""
        every = request.parameters.get(ALL_BINARY, False)
        known = [output.name for output in self._spec.outputs]
        asked = [(one.name, one.parameters.get(BINARY, every)) for one in request.outputs]
        if not {name for name, _ in asked} <= set(known) or len(dict(asked)) < len(asked):
            raise MalformedBody(f"`outputs` names one twice, or one that is none of {', '.join(known)}.")
        if not all(isinstance(binary, bool) for _, binary in asked) or not isinstance(every, bool):
            raise MalformedBody(f"{BINARY} and {ALL_BINARY} are true or false.")
        return [(name, bool(binary)) for name, binary in asked or [(name, every) for name in known]]

    def _instances(self, inputs: Sequence[Input], body: bytes, start: int) -> Instances:
        """The rows of these inputs, whose bytes are those of the body from `start` on."""
        names = [one.name for one in inputs]
        if len(set(names)) < len(names):
            raise MalformedBody("Two of the inputs have the same name; keep one of them.")
        if MATRIX in names and len(names) > 1:
            raise MalformedBody(f"Send either `{MATRIX}` alone, or a tensor for each feature.")
        # Before their bytes are read.
        self._refuse_undeclared(names)
        for place, one in enumerate(inputs):
            with _at(place):
                _check(one, self._named)
        arrays = list(_arrays(inputs, body, start))
        flat = [one.data is not None and not tensors.is_nested(one.data) for one in inputs]
        if names == [MATRIX]:
            return from_matrix(self._spec, arrays[0], _cell(self._spec, flat[0]))
        columns = {name: array.reshape(-1) for name, array in zip(names, arrays, strict=True)}
        # A nested column has a list for each row.
        ends = {
            name: "" if flat[place] or arrays[place].ndim < 2 else "/0" for place, name in enumerate(names)
        }
        return from_columns(
            self._spec, columns, lambda row, name: f"#/inputs/{names.index(name)}/data/{row}{ends[name]}",
            "#/inputs", listed=True,
        )  # fmt: skip

    def _refuse_undeclared(self, names: Sequence[str]) -> None:
        """Raise InvalidRows if an input has a name that is neither `x` nor a feature's."""
        if {MATRIX, *self._named} >= set(names):
            return
        if len(names) == 1:
            # It may be meant to be the matrix.
            known = f"`{MATRIX}`, (rows, {len(self._named)}), or all of {', '.join(self._named)}"
            refuse([Violation("#/inputs/0", f"The input is not declared; send {known}.", "unknown_field")])
        refuse_names(self._spec, names, "#/inputs", listed=True)

    def word(self, servable: Servable, outputs: Outputs) -> bytes:
        """The answer of this version: JSON, and behind it the bytes of outputs that are asked for so."""
        described, tail = [], []
        for name, binary in self._outputs:
            values = outputs[name]
            output: dict[str, Any] = {"name": name, "datatype": "FP32", "shape": list(values.shape)}
            if binary:
                tail.append(tensors.to_bytes(values))
                output["parameters"] = {SIZE: len(tail[-1])}
            else:
                output["data"] = values.ravel().tolist()
            described.append(output)
        told = {"id": self._id} if self._id is not None else {}
        identity = {"model_name": servable.spec.name, "model_version": str(servable.version)}
        text = to_json(identity | told | {"outputs": described})
        self.json_size = len(text) if tail else None
        return b"".join([text, *tail])


def _check(one: Input, named: Mapping[str, Feature]) -> None:
    """Raise MalformedBody where an input cannot be what its name says, or says twice where its values are."""
    size = one.parameters.get(SIZE)
    if one.datatype not in tensors.DTYPES and one.datatype != tensors.BYTES:
        known = ", ".join([*tensors.DTYPES, tensors.BYTES])
        raise MalformedBody(f"The datatype of an input is none of {known}.")
    if one.name == MATRIX and one.datatype in ("BOOL", tensors.BYTES):
        raise MalformedBody("The tensor is not of numbers; send float32, float64 or whole numbers.")
    if one.datatype == tensors.BYTES and not named[one.name].levels:
        raise MalformedBody("The feature has no levels, which are what texts name; send numbers, or BOOL.")
    if one.name != MATRIX and one.shape[1:] not in ([], [1]):
        raise MalformedBody("The tensor of a feature has not the shape (rows) or (rows, 1).")
    if size is not None and (type(size) is not int or size < 0):
        raise MalformedBody(f"{SIZE} is no number of bytes.")
    if (size is None) == (one.data is None):
        raise MalformedBody(f"An input has both `data` and {SIZE}, or neither; give one of them.")


def _arrays(inputs: Sequence[Input], body: bytes, start: int) -> Iterator[NDArray[Any]]:
    """The tensor of each input: of JSON, or of the bytes from `start` on, which they use up."""
    sizes = [one.parameters.get(SIZE) for one in inputs]
    if start + sum(int(size) for size in sizes if size is not None) != len(body):
        raise MalformedBody(
            f"The bytes behind the JSON are not as many as the inputs' {SIZE} together;"
            " Inference-Header-Content-Length says where the JSON ends."
        )
    for place, (one, size) in enumerate(zip(inputs, sizes, strict=True)):
        with _at(place):
            if size is None:
                array = tensors.of_json(one.datatype, one.shape, one.data)
            else:
                array = tensors.of_bytes(one.datatype, one.shape, body, start, int(size))
        yield array
        start += int(size or 0)


@contextmanager
def _at(place: int) -> Iterator[None]:
    """Have what is malformed said of the input at this place."""
    try:
        yield
    except MalformedBody as error:
        raise MalformedBody(f"#/inputs/{place}: {error}") from None


def _refuse_parameters(parameters: Parameters) -> None:
    """Raise MalformedBody where one asks for what would be another answer elsewhere."""
    if any(name.startswith(OTHERWISE) for name in parameters):
        raise MalformedBody("Shared memory, sequences and the classification extension are not supported.")


def _cell(spec: ModelSpec, flat: bool) -> Pointer:
    """The place of a cell of `x` in its data; in bytes, as if they were nested lists."""
    names = [feature.name for feature in spec.features]
    if flat:
        return lambda row, name: f"#/inputs/0/data/{row * len(names) + names.index(name)}"
    return lambda row, name: f"#/inputs/0/data/{row}/{names.index(name)}"


def _malformed(error: ValidationError) -> MalformedBody:
    fault = error.errors(include_input=False, include_url=False)[0]
    fields = {*Input.model_fields, *InferRequest.model_fields}
    known = [str(part) for part in fault["loc"] if isinstance(part, int) or part in fields]
    return MalformedBody(f"The body is not {SHAPE}; look at #/{'/'.join(known)}.")
