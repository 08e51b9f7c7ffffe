"""The Open Inference Protocol, version 2, over REST, as Triton, KServe and MLServer speak it.

With the binary tensor extension, and the repository's index to be read. Knows HTTP; what a body says is read
in `request`.
"""

import re
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from msgspec.structs import replace
from pydantic import BaseModel
from pydantic_core import ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope

from service import __version__
from service.actions import Action, raw
from service.dialects.dialect import Dialect
from service.dialects.open_inference.protocol import (
    Indexed,
    IndexRequest,
    InferenceError,
    InferRequest,
    InferResponse,
    Live,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
    Tensor,
)
from service.dialects.open_inference.request import MATRIX, Inference
from service.engine import Answer, Read
from service.errors import MalformedBody, ShuttingDown
from service.exchange import State, exchange
from service.extent import shallow
from service.judge import SMALL_BODY
from service.limits import Stage
from service.openapi import JSON
from service.problems import Problem
from service.requests import announced, body_of, bound, headers_of
from service.routes import JSON_TYPE, Shortcut, Version, answering_head
from service.spec import ModelSpec

BINARY = "application/octet-stream"
BINARY_TYPE = ((b"content-type", BINARY.encode()),)
# How many bytes of JSON a body begins with, where others follow.
NAME = "Inference-Header-Content-Length"
HEADER = NAME.lower().encode()


def envelope(said: Problem) -> Response:
    """All of a problem as the protocol's one string."""
    return Response(InferenceError(error=said.text).model_dump_json(), said.status, media_type=JSON)


def routes(predicts: Mapping[str, Action]) -> APIRouter:
    """Every route of the protocol."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])
    _add_server(router)
    _add_models(router)
    _add_infer(router, {name: raw(action, "infer") for name, action in predicts.items()})
    return answering_head(router)


def _add_server(router: APIRouter) -> None:
    async def metadata() -> ServerMetadata:
        return ServerMetadata(
            name="tabular-model-server", version=__version__, extensions=["binary_tensor_data"]
        )

    router.add_api_route(
        "", metadata, summary="The server, and the extensions that it has", responses=_errors(429, 503)
    )
    router.add_api_route("/", metadata, include_in_schema=False)

    @router.get("/health/live", summary="Whether the process runs")
    async def live() -> Live:
        return Live()

    @router.get("/health/ready", summary="Whether every model is ready", responses=_errors(503))
    async def ready(request: Request) -> Ready:
        _state(request).check_ready()
        return Ready()

    @router.post(
        "/repository/index",
        summary="Every version in the artifacts folder",
        response_model=list[Indexed],
        responses=_errors(400, 408, 413, 415, 429, 503),
        openapi_extra=_body(IndexRequest, {"ready": {"value": {"ready": True}}}),
    )
    async def index(request: Request) -> list[Indexed]:
        state = _state(request)
        headers = headers_of(request.scope)
        bound(announced(headers) or 0, state.settings.max_body_bytes)
        body = await body_of(headers, request.receive, state.settings, state.bodies)
        state.bodies.resize(len(body), 0)
        malformed = MalformedBody('The body is not an object {"ready": true or false}.')
        if len(body) > SMALL_BODY:
            raise malformed  # and to parse it would hold up all others
        try:
            wanted = IndexRequest.model_validate_json(shallow(body or b"{}", state.settings.max_json_depth))
        except ValidationError:
            raise malformed from None
        return _index(state, wanted.ready)


def _index(state: State, only_ready: bool) -> list[Indexed]:
    found = [
        Indexed(name=name, version=str(version), state="READY")
        for name in state.registry.models
        for version in state.registry.versions(name)
    ]
    rejected = [
        Indexed(name=name, version=str(version), state="UNAVAILABLE", reason=reason)
        for name, reasons in state.registry.rejected.items()
        for version, reason in reasons.items()
    ]
    return found if only_ready else found + rejected


def _add_models(router: APIRouter) -> None:
    known = _errors(404, 429, 503)

    @router.get("/models/{model}", summary="A model's tensors and versions", responses=known)
    async def metadata(request: Request, model: str) -> ModelMetadata:
        return _metadata(_state(request), model, None)

    @router.get("/models/{model}/versions/{version}", responses=known)
    async def version_metadata(request: Request, model: str, version: Version) -> ModelMetadata:
        return _metadata(_state(request), model, int(version))

    @router.get("/models/{model}/ready", summary="Whether a model is served", responses=known)
    async def ready(request: Request, model: str) -> ModelReady:
        return _ready(_state(request), model, None)

    @router.get("/models/{model}/versions/{version}/ready", responses=known)
    async def version_ready(request: Request, model: str, version: Version) -> ModelReady:
        return _ready(_state(request), model, int(version))


def _metadata(state: State, model: str, version: int | None) -> ModelMetadata:
    """What a model takes and answers; every version of it the same."""
    served = state.registry.versions(model)
    if version is not None:
        state.registry.servable(model, version)
    spec = state.registry.models[model]
    outputs = {output.name: [-1, output.width] if output.width else [-1] for output in spec.outputs}
    return ModelMetadata(
        name=model,
        versions=[str(number) for number in served],
        inputs=[Tensor(name=MATRIX, datatype="FP32", shape=[-1, len(spec.features)])],
        outputs=[Tensor(name=name, datatype="FP32", shape=shape) for name, shape in outputs.items()],
    )


def _ready(state: State, model: str, version: int | None) -> ModelReady:
    state.registry.servable(model, version)
    if state.door.stage != Stage.OPEN:
        raise ShuttingDown
    return ModelReady(name=model)


def _add_infer(router: APIRouter, infers: Mapping[str, Action]) -> None:
    async def newest(request: Request, model: str) -> Response:
        return await _infer(infers, request, model, None)

    async def pinned(request: Request, model: str, version: Version) -> Response:
        return await _infer(infers, request, model, int(version))

    examples = {
        f"{name}, {form}": {"value": {"inputs": inputs}}
        for name, action in infers.items()
        for form, inputs in _inputs(action.judge.spec).items()
    }
    for below, endpoint in (("", newest), ("/versions/{version}", pinned)):
        router.add_api_route(
            f"/models/{{model}}{below}/infer",
            endpoint,
            methods=["POST"],
            operation_id=f"infer_{endpoint.__name__}",
            summary="The graph's outputs for tensors of rows",
            response_model=InferResponse,
            responses=_errors(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
            openapi_extra=_with_bytes(_body(InferRequest, examples)),
        )


async def _infer(infers: Mapping[str, Action], request: Request, model: str, version: int | None) -> Response:
    _state(request).registry.served(model)
    answered = await _answer(infers[model], request.scope, request.receive, version)
    response = Response(answered.body)
    response.raw_headers.extend(answered.headers or JSON_TYPE)
    return response


async def _answer(action: Action, scope: Scope, receive: Receive, version: int | None) -> Answer:
    """The answer, with headers that say how much of it is JSON if not all is."""
    asked: list[Inference] = []

    def reading(headers: Mapping[bytes, bytes]) -> Read:
        asked.append(Inference(action.judge, headers.get(HEADER)))
        return asked[0].read

    answered = await exchange(action, scope, receive, version, reading)
    size = asked[0].json_size
    if size is None:
        return answered
    return replace(answered, headers=(*BINARY_TYPE, (HEADER, str(size).encode())))


def shortcuts(predicts: Mapping[str, Action]) -> dict[str, Shortcut]:
    """The paths by which the answering version is asked."""

    def of(action: Action) -> Shortcut:
        return Shortcut(
            "/v2/models/{model}/infer", lambda scope, receive: _answer(action, scope, receive, None)
        )

    return {f"/v2/models/{name}/infer": of(raw(action, "infer")) for name, action in predicts.items()}


def _inputs(spec: ModelSpec) -> dict[str, list[dict[str, Any]]]:
    """The inputs of a body of the model's example row, by their form."""
    codes = {feature.name: feature.code(spec.example[feature.name]) for feature in spec.features}
    matrix = {"name": MATRIX, "shape": [1, len(codes)], "datatype": "FP32", "data": [list(codes.values())]}
    features = [
        {"name": name, "shape": [1], "datatype": "FP64", "data": [code]} for name, code in codes.items()
    ]
    return {"one tensor": [matrix], "a tensor for each feature": features}


def _body(kind: type[BaseModel], examples: Mapping[str, Any]) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"requestBody": {"content": {JSON: {"schema": reference, "examples": dict(examples)}}}}


def _with_bytes(documented: dict[str, Any]) -> dict[str, Any]:
    """The same for bodies and answers that are JSON and behind it the bytes of tensors."""
    described = "JSON, and behind it the bytes of the tensors that have `binary_data_size`, in their order"
    content = {BINARY: {"schema": {"type": "string", "format": "binary", "description": described}}}
    header = {
        "description": "how many bytes of JSON the body begins with, where those of tensors stand behind it;"
        " 0 where it is the matrix `x` in FP32 and nothing else",
        "schema": {"type": "integer", "minimum": 0},
    }
    body = documented["requestBody"]
    return {
        "requestBody": body | {"content": body["content"] | content},
        "parameters": [{"name": NAME, "in": "header"} | header],
        "responses": {"200": {"content": content, "headers": {NAME: header}}},
    }


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": InferenceError} for code in codes}


def _state(request: Request) -> State:
    state: State = request.app.state
    return state


DIALECT = Dialect(
    routes,
    paths=re.compile(r"/v2(/.*)?", re.DOTALL),
    envelope=envelope,
    schemas=(InferRequest, IndexRequest),
    shortcuts=shortcuts,
)
