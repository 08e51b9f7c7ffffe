"""Puts the parts together: settings and registry in, an ASGI application out."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, cast

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from service import __version__, openapi, problems
from service.actions import Action, actions
from service.engine import Engine
from service.models import MODELS
from service.registry import Registry
from service.routes import Shortcuts, State, model_routes, service_routes, unknown_model_routes
from service.settings import Settings
from service.telemetry import RequestLog, Telemetry
from service.watch import Watch, settle_heap

log = logging.getLogger(__name__)

DESCRIPTION = """\
Small tabular models behind validated requests. A row is an object of named features; each has a unit
and a physical range, and a value outside it is refused by name. Answers to rows unlike those seen in
training are marked in `applicability`. Errors are `application/problem+json` and never repeat a value.
"""


class Service:
    """The ASGI application: FastAPI, `api`, behind the log and the shortcuts that every request passes."""

    def __init__(self, api: FastAPI, offered: Sequence[Action]) -> None:
        """Serve `api`, and what is offered by shorter ways."""
        self.api = api
        self._front = RequestLog(Shortcuts(api, offered), api.state.telemetry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or run the lifespan."""
        await self._front(scope, receive, send)


def create_app(settings: Settings | None = None, registry: Registry | None = None) -> Service:
    """Build the service. Without a registry, the artifacts folder is loaded when the app starts."""
    settings = settings or Settings()
    api: FastAPI = FastAPIOffline(
        title="Tabular model server",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan(settings, registry),
        redirect_slashes=False,
        # FastAPI's own spans and logs would hold paths and queries as they were typed.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    engine = Engine(settings.max_waiting_rows)
    # Starlette's annotation names its own class, but it only ever hands on what stands here.
    api.state = State(settings, Telemetry(), engine, registry or Registry(MODELS))  # type: ignore[assignment]
    api.include_router(service_routes())
    offered: list[Action] = []
    for spec in (registry.models if registry else MODELS).values():
        offered += (own := actions(spec))
        api.include_router(model_routes(spec, own))
    api.include_router(unknown_model_routes())
    problems.install(api)
    api.add_middleware(problems.LastResort)
    _complete_openapi(api, [action.judge.request for action in offered])
    return Service(api, offered)


def load(settings: Settings) -> Registry:
    """Choose the device, then load and prove every version below the artifacts folder."""
    registry = Registry(MODELS)
    _filling(registry, settings)()
    return registry


def _filling(registry: Registry, settings: Settings) -> Callable[[], bool]:
    """Choose the device; return what makes the registry be what stands in the artifacts folder."""
    # Several threads would share a product of few rows by its inner sums: slower, and rounded by company.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    # Here and not above: tests of routes and problems need no TensorFlow.
    from service.servable import SavedModelServable, choose_device, keep_buffers

    keep_buffers()
    registry.device = choose_device(settings.device)
    log.info("device: %s", registry.device)
    return partial(registry.scan, settings.artifacts, SavedModelServable)


def _lifespan(settings: Settings, registry: Registry | None) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = cast(State, app.state)
        if registry:
            yield
        else:
            scan = _filling(state.registry, settings)
            scan()
            for name, reason in state.registry.reasons().items():
                log.warning("not ready: %s: %s", name, reason)
            settle_heap()
            watch = Watch(scan, lambda: state.engine.keep(state.registry.servables()))
            async with _watching(watch, settings.model_poll_s):
                yield
        state.engine.close()

    return lifespan


@asynccontextmanager
async def _watching(watch: Watch, seconds: float) -> AsyncIterator[None]:
    """Look every so many seconds, 0 for never, and at SIGHUP."""
    loop = asyncio.get_running_loop()
    tasks = {loop.create_task(watch.poll(seconds))} if seconds else set[asyncio.Task[None]]()

    def look() -> None:
        tasks.add(task := loop.create_task(watch.look()))
        task.add_done_callback(tasks.discard)

    # Several workers are restarted at SIGHUP by uvicorn, one after another. Tests serve on other threads.
    if threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGHUP, look)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


def _complete_openapi(app: FastAPI, requests: Sequence[type[BaseModel]]) -> None:
    """Add what FastAPI cannot derive, once, when the document is first asked for."""
    generate = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = generate()
            openapi.complete(app.openapi_schema, requests, problems.MEDIA_TYPE)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
