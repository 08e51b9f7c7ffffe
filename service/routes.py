"""The native dialect: which path does what, for every declared model.

Knows HTTP; what a body means is judged in `judge`, what an answer is in `inference`.
"""

from collections.abc import Callable, Sequence
from email.message import Message
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from service.actions import NAMES, Action
from service.card import Card, card
from service.catalogue import Catalogue, ModelDescription, catalogue, describe
from service.errors import MalformedBody, NotReady, UnknownDrawing, UnsupportedMedia
from service.judge import Asked, Judge
from service.openapi import CSV, JSON, described
from service.parameters import from_query
from service.problems import Problem
from service.registry import VERSION, Registry
from service.spec import ModelSpec
from service.table import read_csv
from service.telemetry import Telemetry

# A pattern and not int, which would take " 1", "+1" and "1.0" for version 1.
Version = Annotated[
    str, Path(pattern=f"^{VERSION}$", description="a served version, as GET /models lists them")
]
CHARSETS = ("utf-8", "utf8", "us-ascii")
# An SVG can carry a script: it is shown, and never run.
DRAWN_ONLY = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
DRAWINGS = {".png": "image/png", ".svg": "image/svg+xml"}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "not JSON or CSV, or not the envelope, or an undefined option"},
    404: {"model": Problem, "description": "no such model, version or drawing"},
    413: {"model": Problem, "description": "too many bytes, rows or points"},
    415: {"model": Problem, "description": "neither application/json nor text/csv"},
    422: {"model": Problem, "description": "a value or an option breaks the declaration"},
    500: {"model": Problem, "description": "a bug, with an id and nothing else"},
    503: {"model": Problem, "description": "no version of this model is ready"},
}


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
        _add_action(router, action)
    _add_card(router, spec)
    return _answering_head(router)


def _add_action(router: APIRouter, action: Action) -> None:
    async def newest(request: Request) -> Response:
        return await _answer(request, action, None)

    async def pinned(request: Request, version: Version) -> Response:
        return await _answer(request, action, int(version))

    for path, endpoint in ((f"/{action.name}", newest), (f"/versions/{{version}}/{action.name}", pinned)):
        router.add_api_route(
            path,
            endpoint,
            methods=["POST"],
            operation_id="_".join([action.judge.spec.name, action.name.replace("-", "_"), endpoint.__name__]),
            summary=action.summary,
            response_model=action.response,
            responses=PROBLEMS,
            openapi_extra=described(action.judge),
        )


def _add_card(router: APIRouter, spec: ModelSpec) -> None:
    @router.get("/card", response_model=Card, responses=_problems(503), summary="The model card")
    async def newest(request: Request) -> Response:
        return _json(card(_state(request)[0].servable(spec.name)))

    @router.get("/versions/{version}/card", response_model=Card, responses=_problems(404, 503))
    async def pinned(request: Request, version: Version) -> Response:
        return _json(card(_state(request)[0].servable(spec.name, int(version))))

    images: dict[int | str, dict[str, Any]] = {
        200: {"content": {media: {} for media in DRAWINGS.values()}, "description": "the drawing"}
    }
    drawn: dict[str, Any] = {"response_class": Response, "responses": images | _problems(404, 503)}

    @router.get("/card/{file}", summary="A drawing of the model card", **drawn)
    async def newest_drawing(request: Request, file: str) -> Response:
        return _drawing(request, spec, None, file)

    @router.get("/versions/{version}/card/{file}", **drawn)
    async def pinned_drawing(request: Request, version: Version, file: str) -> Response:
        return _drawing(request, spec, int(version), file)


def _drawing(request: Request, spec: ModelSpec, version: int | None, file: str) -> Response:
    drawings = _state(request)[0].servable(spec.name, version).drawings
    if file not in drawings:
        raise UnknownDrawing("The card has no drawing of this name; `drawings` in the card lists them.")
    media_type = DRAWINGS[file[file.rindex(".") :]]
    return Response(drawings[file], media_type=media_type, headers=DRAWN_ONLY)


async def _answer(request: Request, action: Action, version: int | None) -> Response:
    registry, telemetry = _state(request)
    servable = registry.servable(action.judge.spec.name, version)
    read = _reader(request, action.judge)
    body = await request.body()

    def work() -> bytes:
        instances, parameters = read(body)
        answer = action.answer(servable, instances, parameters)
        labels = (servable.spec.name, servable.version, action.name)
        telemetry.rows.labels(*labels).inc(len(instances.matrix))
        return to_json(answer)

    # A large body must not stop the loop from answering /health.
    return Response(await run_in_threadpool(work), media_type="application/json")


def _reader(request: Request, judge: Judge) -> Callable[[bytes], Asked]:
    """What reads this request's media type. Raises UnsupportedMedia or MalformedBody."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMedia("The body has a Content-Encoding; send it as it is.")
    media, charset = _content_type(request.headers.get("content-type", ""))
    if media not in (JSON, CSV) or charset not in CHARSETS:
        raise UnsupportedMedia("Send Content-Type: application/json or text/csv, in UTF-8.")
    pairs = request.query_params.multi_items()
    if media == CSV:
        options = from_query(pairs)
        return lambda body: read_csv(judge, body, options)
    if pairs:
        raise MalformedBody("There is a query, but a JSON body has its options in `parameters`; move them.")
    return judge.json


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
        for card_path in ("card", "card/{file}"):
            router.add_api_route(f"/models/{{model}}{below}/{card_path}", unknown, methods=["GET"])
        for action in NAMES:
            router.add_api_route(f"/models/{{model}}{below}/{action}", unknown, methods=["POST"])
    return _answering_head(router)


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
