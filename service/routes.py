"""The native dialect: which path does what, for every declared model.

Knows HTTP; what a body means is judged in `judge`, what an answer is in `inference`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import Message
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from service import inference
from service.catalogue import Catalogue, ModelDescription, catalogue, describe
from service.errors import NotReady, UnsupportedMedia
from service.judge import Instances, Judge
from service.problems import Problem
from service.protocol import (
    EVALUATIONS,
    EvaluateRequest,
    ExplainResponse,
    PredictRequest,
    PredictResponse,
    named,
    target_type,
)
from service.registry import VERSION, Registry, Servable
from service.spec import ModelSpec
from service.table import read_csv
from service.telemetry import Telemetry

# A pattern and not int, which would take " 1", "+1" and "1.0" for version 1.
Version = Annotated[
    str, Path(pattern=f"^{VERSION}$", description="a served version, as GET /models lists them")
]
CHARSETS = ("utf-8", "utf8", "us-ascii")
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "not JSON or CSV, or not the envelope"},
    404: {"model": Problem, "description": "no such model or version"},
    413: {"model": Problem, "description": "too many bytes or rows"},
    415: {"model": Problem, "description": "neither application/json nor text/csv"},
    422: {"model": Problem, "description": "a value breaks the declaration"},
    500: {"model": Problem, "description": "a bug, with an id and nothing else"},
    503: {"model": Problem, "description": "no version of this model is ready"},
}


@dataclass(frozen=True)
class Action:
    """One thing that a model can be asked to do."""

    name: str
    summary: str
    judge: Judge
    answer: Callable[[Servable, Instances], dict[str, Any]]
    response: type[BaseModel]


def actions(spec: ModelSpec) -> tuple[Action, ...]:
    """What every model can be asked to do, with this model's own types."""

    def typed(kind: Any, *parameters: Any) -> Any:
        return named(f"{spec.type_name}{kind.__name__}", kind[parameters])

    unlabelled = Judge(spec, typed(PredictRequest, spec.row))
    labelled = Judge(spec, typed(EvaluateRequest, spec.row, target_type(spec.target)))
    predictions = typed(PredictResponse, spec.prediction)
    evaluation = EVALUATIONS[spec.task.name]
    return (
        Action("predict", "Answer rows", unlabelled, inference.predict, predictions),
        Action("evaluate", "Measure the model on labelled rows", labelled, inference.evaluate, evaluation),
        Action("explain", "Say what moved each answer", unlabelled, inference.explain, ExplainResponse),
    )


def model_routes(spec: ModelSpec, offered: Sequence[Action]) -> APIRouter:
    """Every route of one model, each also below /versions/{version}."""
    router = APIRouter(prefix=f"/models/{spec.name}", tags=[spec.name])

    @router.get("", response_model=ModelDescription, summary=spec.title, name=f"{spec.name}")
    async def description(request: Request) -> Response:
        return _describe(request, spec, None)

    @router.get("/versions/{version}", response_model=ModelDescription, responses=_problems(404))
    async def version_description(request: Request, version: Version) -> Response:
        return _describe(request, spec, int(version))

    for action in offered:
        _add(router, action)
    return _answering_head(router)


def _add(router: APIRouter, action: Action) -> None:
    async def newest(request: Request) -> Response:
        return await _answer(request, action, None)

    async def pinned(request: Request, version: Version) -> Response:
        return await _answer(request, action, int(version))

    for path, endpoint in ((f"/{action.name}", newest), (f"/versions/{{version}}/{action.name}", pinned)):
        router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            operation_id="_".join([action.judge.spec.name, action.name, endpoint.__name__]),
            summary=action.summary,
            response_model=action.response,
            responses=PROBLEMS,
            openapi_extra={"requestBody": _request_body(action.judge)},
        )


async def _answer(request: Request, action: Action, version: int | None) -> Response:
    registry, telemetry = _state(request)
    servable = registry.servable(action.judge.spec.name, version)
    read = _reader(request, action.judge)
    body = await request.body()

    def work() -> bytes:
        instances = read(body)
        answer = action.answer(servable, instances)
        labels = (servable.spec.name, servable.version, action.name)
        telemetry.rows.labels(*labels).inc(len(instances.matrix))
        return to_json(answer)

    # A large body must not stop the loop from answering /health.
    return Response(await run_in_threadpool(work), media_type="application/json")


def _reader(request: Request, judge: Judge) -> Callable[[bytes], Instances]:
    """What reads this request's media type. Raises UnsupportedMedia."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("The body has a Content-Encoding; send it as it is.")
    media, charset = _content_type(request.headers.get("content-type", ""))
    readers = {"application/json": judge.json, "text/csv": lambda body: read_csv(judge, body)}
    reader = readers.get(media)
    if reader is None or charset not in CHARSETS:
        raise UnsupportedMedia("Send Content-Type: application/json or text/csv, in UTF-8.")
    return reader


@lru_cache(maxsize=64)
def _content_type(header: str) -> tuple[str, str]:
    """The media type and the charset in lower case; other parameters mean nothing here."""
    message = Message()
    message["content-type"] = header
    # Without a header the standard library would assume text/plain.
    media = message.get_content_type() if header else ""
    return media, str(message.get_content_charset("utf-8"))


def _describe(request: Request, spec: ModelSpec, version: int | None) -> Response:
    registry, _ = _state(request)
    try:
        servable = registry.servable(spec.name, version)
    except NotReady:
        servable = None
    return _json(describe(registry, spec, servable))


def service_routes() -> APIRouter:
    """The routes that belong to no model."""
    router = APIRouter()

    @router.get("/", include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse("/docs")

    @router.get("/models", response_model=Catalogue, tags=["service"], summary="What is served")
    async def models(request: Request) -> Response:
        return _json(catalogue(_state(request)[0]))

    @router.get("/health/live", tags=["service"], summary="Whether the process runs")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @router.get(
        "/health/ready",
        tags=["service"],
        summary="Whether every model has answered its golden rows",
        responses=_problems(503),
    )
    async def ready(request: Request) -> dict[str, str]:
        registry, _ = _state(request)
        if not registry.ready:
            reasons = [f"{name}: {reason}" for name, reason in registry.reasons().items()]
            raise NotReady("; ".join(reasons) or "No model is declared.")
        return {"status": "ready"}

    @router.get("/metrics", tags=["service"], summary="Metrics for Prometheus", response_class=Response)
    async def metrics(request: Request) -> Response:
        return Response(_state(request)[1].page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return _answering_head(router)


def unknown_model_routes() -> APIRouter:
    """Say of any other model that it is not there, with the names of those that are.

    To be included after the models' own routes.
    """
    router = APIRouter(include_in_schema=False)

    async def unknown(request: Request) -> Response:
        _state(request)[0].versions(request.path_params["model"])
        raise AssertionError("a declared model has routes of its own")

    for below in ("", "/versions/{version}"):
        router.add_api_route(f"/models/{{model}}{below}", unknown, methods=["GET"])
        for action in ("predict", "evaluate", "explain"):
            router.add_api_route(f"/models/{{model}}{below}/{action}", unknown, methods=["POST"])
    return _answering_head(router)


def _request_body(judge: Judge) -> dict[str, Any]:
    spec = judge.spec
    document: dict[str, Any] = {"instances": [dict(spec.example)]}
    header, line = list(spec.example), [str(value) for value in spec.example.values()]
    if judge.labelled:
        document["targets"] = [spec.example_target]
        header, line = [*header, spec.target.name], [*line, str(spec.example_target)]
    reference = {"$ref": f"#/components/schemas/{judge.request.__name__}"}
    return {
        "required": True,
        "content": {
            "application/json": {"schema": reference, "example": document},
            "text/csv": {"schema": {"type": "string"}, "example": f"{','.join(header)}\n{','.join(line)}\n"},
        },
    }


def _answering_head(router: APIRouter) -> APIRouter:
    """Let HEAD ask what GET would answer (RFC 9110, section 9.1): load balancers probe with it."""
    for route in [route for route in router.routes if isinstance(route, APIRoute)]:
        if route.methods == {"GET"}:
            path = route.path.removeprefix(router.prefix)
            router.add_api_route(path, route.endpoint, methods=["HEAD"], include_in_schema=False)
    return router


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: PROBLEMS[code] for code in codes}


def _state(request: Request) -> tuple[Registry, Telemetry]:
    return request.app.state.registry, request.app.state.telemetry


def _json(model: BaseModel) -> Response:
    return Response(model.model_dump_json(), media_type="application/json")
