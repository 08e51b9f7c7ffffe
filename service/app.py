"""Puts the parts together: settings and registry in, an ASGI application out."""

import gc
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service import __version__, problems
from service.limits import BodyLimit
from service.models import MODELS
from service.registry import Registry
from service.routes import actions, model_routes, service_routes, unknown_model_routes
from service.settings import Settings
from service.telemetry import RequestLog, Telemetry

log = logging.getLogger(__name__)

DESCRIPTION = """\
Small tabular models behind validated requests. A row is an object of named features; each has a unit
and a physical range, and a value outside it is refused by name. Answers to rows unlike those seen in
training are marked in `applicability`. Errors are `application/problem+json` and never repeat a value.
"""


def create_app(settings: Settings | None = None, registry: Registry | None = None) -> FastAPI:
    """Build the service. Without a registry, the artifacts folder is loaded when the app starts."""
    settings = settings or Settings()
    app = FastAPIOffline(
        title="Tabular model server",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan(settings, registry),
        redirect_slashes=False,
    )
    app.state.telemetry = Telemetry()
    app.include_router(service_routes())
    requests: list[type[BaseModel]] = []
    for spec in (registry.models if registry else MODELS).values():
        offered = actions(spec)
        app.include_router(model_routes(spec, offered))
        requests += [action.judge.request for action in offered]
    app.include_router(unknown_model_routes())
    problems.install(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimit, most=settings.max_body_bytes)
    app.add_middleware(problems.LastResort)
    app.add_middleware(RequestLog, telemetry=app.state.telemetry)
    _complete_openapi(app, requests)
    return app


def load(settings: Settings) -> Registry:
    """Choose the device, then load and prove every version below the artifacts folder."""
    # Here and not above: tests of routes and problems need no TensorFlow.
    from service.servable import SavedModelServable, choose_device

    registry = Registry(MODELS, choose_device(settings.device))
    log.info("device: %s", registry.device)
    registry.scan(settings.artifacts, SavedModelServable)
    for name, reason in registry.reasons().items():
        log.warning("not ready: %s: %s", name, reason)
    return registry


def _lifespan(settings: Settings, registry: Registry | None) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.registry = registry or load(settings)
        # A full collection walks TensorFlow's object graph and stops the loop for 200 ms.
        gc.collect()
        gc.freeze()
        yield

    return lifespan


def _complete_openapi(app: FastAPI, requests: Sequence[type[BaseModel]]) -> None:
    """Add what FastAPI cannot derive: bodies that routes read themselves, and the problems' media type."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            template = "#/components/schemas/{model}"
            _, extra = models_json_schema([(kind, "validation") for kind in requests], ref_template=template)
            document["components"]["schemas"] |= extra["$defs"]
            for path in document["paths"].values():
                for operation in path.values():
                    _name_problems(operation["responses"])
            for unused in ("HTTPValidationError", "ValidationError"):
                document["components"]["schemas"].pop(unused, None)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _name_problems(responses: dict[str, Any]) -> None:
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]  # FastAPI's own, for a version in the path: ours is a 404
    for code, response in responses.items():
        if int(code) >= 400 and "content" in response:
            response["content"] = {problems.MEDIA_TYPE: response["content"]["application/json"]}
