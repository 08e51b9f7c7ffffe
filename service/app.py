"""Puts the parts together: settings and registry in, an ASGI application out."""

import gc
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel

from service import __version__, openapi, problems
from service.actions import actions
from service.limits import BodyLimit
from service.models import MODELS
from service.registry import Registry
from service.routes import model_routes, service_routes, unknown_model_routes
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
    """Add what FastAPI cannot derive, once, when the document is first asked for."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = generate()
            openapi.complete(app.openapi_schema, requests, problems.MEDIA_TYPE)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
