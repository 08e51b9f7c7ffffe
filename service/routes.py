"""The native dialect: which path does what, for every declared model.

Knows HTTP; what a body means is judged in `judge`, what an answer is in `inference`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from service import labels, problems
from service.actions import NAMES, Action
from service.card import Card, card
from service.catalogue import Catalogue, ModelDescription, catalogue, describe
from service.engine import Answer
from service.errors import CallerGone, DeadlineExceeded, NotReady, Overloaded, ServiceError, UnknownDrawing
from service.exchange import exchange
from service.openapi import JSON, described
from service.problems import Problem
from service.registry import VERSION, Registry
from service.requests import reader
from service.spec import ModelSpec
from service.telemetry import Telemetry
from service.workers import tell_others

# A pattern and not int, which would take " 1", "+1" and "1.0" for version 1.
Version = Annotated[
    str, Path(pattern=f"^{VERSION}$", description="a served version, as GET /models lists them")
]
Label = Annotated[str, Path(pattern=f"^{labels.NAME}$", description="a label, as GET /models lists them")]
JSON_TYPE = ((b"content-type", b"application/json"),)
# An SVG can carry a script: it is shown, and never run.
DRAWN_ONLY = {"Content-Security-Policy": "sandbox"}
DRAWINGS = {".png": "image/png", ".svg": "image/svg+xml"}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "not JSON or CSV, or not the envelope, or an undefined option"},
    404: {"model": Problem, "description": "no such model, version or drawing"},
    408: {"model": Problem, "description": "a head or a body that did not come in time"},
    413: {"model": Problem, "description": "too many bytes, rows or points"},
    415: {
        "model": Problem,
        "description": "neither application/json nor text/csv, or neither plain nor gzip",
    },
    422: {"model": Problem, "description": "a value or an option breaks the declaration"},
    429: {
        "model": Problem,
        "description": "too many are waiting, or for too long, or requests come too fast",
    },
    431: {"model": Problem, "description": "too many bytes before the body, or too many headers"},
    500: {"model": Problem, "description": "a bug, with an id and nothing else"},
    503: {"model": Problem, "description": "no version of this model is ready, or the service is leaving"},
    504: {"model": Problem, "description": "no answer in the time that the request had"},
}


def model_routes(spec: ModelSpec, offered: Sequence[Action]) -> APIRouter:
    """Every route of one model, each also below /versions/{version} and /labels/{label}."""
    router = APIRouter(prefix=f"/models/{spec.name}", tags=[spec.name])

    @router.get("", response_model=ModelDescription, summary=spec.title, name=f"{spec.name}")
    async def description(request: Request) -> Response:
        return _describe(request, spec, None)

    @router.get("/versions/{version}", response_model=ModelDescription, responses=_problems(404))
    async def version_description(request: Request, version: Version) -> Response:
        return _describe(request, spec, int(version))

    @router.get("/labels/{label}", response_model=ModelDescription, responses=_problems(404))
    async def label_description(request: Request, label: Label) -> Response:
        return _describe(request, spec, label)

    for action in offered:
        _add_action(router, action)
    _add_card(router, spec)
    return answering_head(router)


def _add_action(router: APIRouter, action: Action) -> None:
    async def newest(request: Request) -> Response:
        return await _answer(action, request, None)

    async def pinned(request: Request, version: Version) -> Response:
        return await _answer(action, request, int(version))

    async def labelled(request: Request, label: Label) -> Response:
        return await _answer(action, request, label)

    for below, endpoint in (("", newest), ("/versions/{version}", pinned), ("/labels/{label}", labelled)):
        router.add_api_route(
            f"{below}/{action.name}",
            endpoint,
            methods=["POST"],
            operation_id="_".join([action.judge.spec.name, action.name.replace("-", "_"), endpoint.__name__]),
            summary=action.summary,
            response_model=action.response,
            responses=PROBLEMS,
            openapi_extra=described(action.judge),
        )


async def _answer(action: Action, request: Request, version: int | str | None) -> Response:
    answered = await asked(action, request.scope, request.receive, version)
    return Response(answered.body, media_type=JSON)


def _add_card(router: APIRouter, spec: ModelSpec) -> None:
    @router.get("/card", response_model=Card, responses=_problems(503), summary="The model card")
    async def newest(request: Request) -> Response:
        return _json(card(_state(request)[0].servable(spec.name)))

    @router.get("/versions/{version}/card", response_model=Card, responses=_problems(404, 503))
    async def pinned(request: Request, version: Version) -> Response:
        return _json(card(_state(request)[0].servable(spec.name, int(version))))

    @router.get("/labels/{label}/card", response_model=Card, responses=_problems(404, 503))
    async def labelled(request: Request, label: Label) -> Response:
        return _json(card(_state(request)[0].servable(spec.name, label)))

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

    @router.get("/labels/{label}/card/{file}", **drawn)
    async def labelled_drawing(request: Request, label: Label, file: str) -> Response:
        return _drawing(request, spec, label, file)


def _drawing(request: Request, spec: ModelSpec, version: int | str | None, file: str) -> Response:
    drawings = _state(request)[0].servable(spec.name, version).drawings
    if file not in drawings:
        raise UnknownDrawing("The card has no drawing of this name; `drawings` in the card lists them.")
    media_type = DRAWINGS[file[file.rindex(".") :]]
    return Response(drawings[file], media_type=media_type, headers=DRAWN_ONLY)


@dataclass(frozen=True)
class Shortcut:
    """The template of a route, and what answers its requests."""

    path: str
    respond: Callable[[Scope, Receive], Awaitable[Answer]]


def shortcuts(offered: Sequence[Action]) -> dict[str, Shortcut]:
    """The actions' own paths, which are their templates too."""

    def of(path: str, action: Action) -> Shortcut:
        return Shortcut(path, lambda scope, receive: asked(action, scope, receive, None))

    paths = {f"/models/{action.judge.spec.name}/{action.name}": action for action in offered}
    return {path: of(path, action) for path, action in paths.items()}


class Shortcuts:
    """Answers what is posted most, by its whole path. Pure ASGI.

    The router would try a hundred patterns one after another, and FastAPI then analyse a request that
    `answer` reads anyway: together that takes longer than an answer. Everything else passes.
    """

    def __init__(self, api: FastAPI, shortcuts: Mapping[str, Shortcut]) -> None:
        """Pass to `api` what is not a POST to one of these paths."""
        self.api = api
        self.shortcuts = shortcuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or pass it on."""
        shortcut = self.shortcuts.get(scope["path"]) if scope.get("method") == "POST" else None
        if shortcut is None:
            await self.api(scope, receive, send)
            return
        # The log and the metrics know a request by its route.
        scope["route"], scope["app"] = shortcut, self.api
        try:
            answered = await shortcut.respond(scope, receive)
        except CallerGone:
            return  # nobody is there to be answered, and nothing is wrong with us
        except Overloaded as error:
            await problems.overloaded(str(error))(scope, receive, send)
        except ServiceError as error:
            await problems.of(scope, error)(scope, receive, send)
        except (Exception, asyncio.CancelledError) as error:
            await problems.unexpected(scope, error)(scope, receive, send)
        else:
            length = (b"content-length", str(len(answered.body)).encode())
            headers = [*(answered.headers or JSON_TYPE), length]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": answered.body})


def asked(
    action: Action, scope: Scope, receive: Receive, version: int | str | None
) -> Coroutine[Any, Any, Answer]:
    """Do what a request asks, body to body. Raises ServiceError."""
    query, judge = scope["query_string"], action.judge
    return exchange(action, scope, receive, version, lambda headers: reader(headers, query, judge))


def _describe(request: Request, spec: ModelSpec, version: int | str | None) -> Response:
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
        request.app.state.check_ready()
        return {"status": "ready"}

    @router.post(
        "/admin/reload",
        tags=["service"],
        summary="Look at the artifacts now; what is served then",
        response_model=Catalogue,
        responses=_problems(504),
    )
    async def reload(request: Request) -> Response:
        tell_others()
        try:
            async with asyncio.timeout(request.app.state.settings.request_timeout_s):
                await request.app.state.watch.look()
        except TimeoutError:
            raise DeadlineExceeded from None
        return _json(catalogue(_state(request)[0]))

    @router.get("/metrics", tags=["service"], summary="Metrics for Prometheus", response_class=Response)
    async def metrics(request: Request) -> Response:
        return Response(_state(request)[1].page(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return answering_head(router)


def unknown_model_routes() -> APIRouter:
    """Say of any other model that it is not there, with the names of those that are.

    To be included after the models' own routes.
    """
    router = APIRouter(include_in_schema=False)

    async def unknown(request: Request) -> Response:
        _state(request)[0].versions(request.path_params["model"])
        raise AssertionError("a declared model has routes of its own")

    for below in ("", "/versions/{version}", "/labels/{label}"):
        router.add_api_route(f"/models/{{model}}{below}", unknown, methods=["GET"])
        for card_path in ("card", "card/{file}"):
            router.add_api_route(f"/models/{{model}}{below}/{card_path}", unknown, methods=["GET"])
        for action in NAMES:
            router.add_api_route(f"/models/{{model}}{below}/{action}", unknown, methods=["POST"])
    return answering_head(router)


def answering_head(router: APIRouter) -> APIRouter:
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
