"""The wire types of the Open Inference Protocol, as /docs shows them. Knows pydantic, and no HTTP."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictStr

# A tensor is of rows, or of rows and columns.
DIMENSIONS = 2
# Some clients send null for what they leave out. Of parameters with other names nobody cares here.
Parameters = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]
# Nobody declares as many features.
MOST = 1000


class Part(BaseModel):
    """What every object of a request has in common; fields of other implementations are passed over."""

    model_config = ConfigDict(hide_input_in_errors=True)

    parameters: Parameters = {}


class Input(Part):
    """One tensor: `x`, (n, d), or one feature of n rows under its name, (n,) or (n, 1)."""

    name: StrictStr
    shape: Annotated[
        list[Annotated[int, Field(strict=True, ge=0)]],
        Field(min_length=1, max_length=DIMENSIONS, fail_fast=True),
    ]
    datatype: StrictStr
    data: Any = Field(default=None, description="row-major, nested or flat; none beside `binary_data_size`")


class RequestedOutput(Part):
    """One output that is asked for."""

    name: StrictStr


class InferRequest(Part):
    """Tensors to be predicted, and which outputs of the graph are asked for: all, if none is named."""

    id: StrictStr | None = Field(default=None, description="comes back as it is")
    inputs: Annotated[list[Input], Field(min_length=1, max_length=MOST, fail_fast=True)]
    outputs: Annotated[
        list[RequestedOutput],
        Field(max_length=MOST, fail_fast=True),
        BeforeValidator(lambda value: [] if value is None else value),
    ] = []


class InferenceError(BaseModel):
    """What went wrong, where, what is allowed and what to do; never a value of the request."""

    error: str


class ServerMetadata(BaseModel):
    """What answers, and which extensions of the protocol it has."""

    name: str
    version: str
    extensions: list[str]


class Tensor(BaseModel):
    """An input or an output; -1 stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """The graph's own tensors. Each feature may be sent as a tensor too, under its public name."""

    name: str
    versions: list[str] = Field(description="those that are served, newest first")
    platform: str = "tensorflow_savedmodel"
    inputs: list[Tensor]
    outputs: list[Tensor]


class Live(BaseModel):
    """Whether the process runs."""

    live: bool = True


class Ready(BaseModel):
    """Whether every model has answered its golden rows."""

    ready: bool = True


class ModelReady(Ready):
    """Whether this model, or this version of it, is served."""

    name: str


class IndexRequest(BaseModel):
    """Which versions are wanted."""

    ready: StrictBool = Field(default=False, description="only those that are served")


class Indexed(BaseModel):
    """A version in the artifacts folder; READY, or UNAVAILABLE with the reason."""

    name: str
    version: str
    state: str
    reason: str = ""


class OutputTensor(Tensor):
    """One output, row-major: as `data`, or behind the JSON as many bytes as `binary_data_size` says."""

    parameters: dict[str, int] | None = None
    data: list[float] | None = None


class InferResponse(BaseModel):
    """The outputs of the graph for each row, in order."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]
