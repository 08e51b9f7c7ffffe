"""Puts the parts together: settings and registry in, an ASGI application out."""

import asyncio
import faulthandler
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel

from service import __version__, dialects, openapi, problems, security
from service.actions import Action, actions
from service.engine import Engine
from service.exchange import State
from service.limits import Bodies, Door, Limits
from service.registry import Registry, Servable
from service.routes import Shortcut, Shortcuts, model_routes, service_routes, shortcuts, unknown_model_routes
from service.settings import Settings
from service.shutdown import shutting_down, starting
from service.spec import ModelSpec
from service.telemetry import RequestLog, Telemetry
from service.warmup import warm, warm_up
from service.watch import Watch
from service.workers import enlisted

log = logging.getLogger(__name__)

DESCRIPTION = """\
Small tabular models behind validated requests. A row is an object of named features; each has a unit
and a physical range, and a value outside it is refused by name. Answers to rows unlike those seen in
training are marked in `applicability`. Errors are `application/problem+json` and never repeat a value.
"""


class Service(RequestLog):
    """The ASGI application: FastAPI, `api`, behind log, limits, keys and shortcuts."""

    def __init__(self, api: FastAPI, ways: Mapping[str, Shortcut]) -> None:
        """Serve `api`, and what is asked most by shorter ways."""
        self.api = api
        state: State = api.state  # type: ignore[assignment]
        settings = state.settings
        guarded = security.guarded(Shortcuts(api, ways), settings, ways)
        limited = Limits(guarded, state.door, settings.max_concurrent_requests, settings.aip_health_route)
        super().__init__(limited, state.telemetry, security.headers(settings))


def create_app(settings: Settings | None = None, registry: Registry | None = None) -> Service:
    """Build the service. Without a registry, the artifacts folder is loaded when the app starts."""
    settings = settings or Settings()
    models = registry.models if registry else settings.served
    offered = {name: actions(spec, settings.max_json_depth) for name, spec in models.items()}
    flat = list(chain.from_iterable(offered.values()))
    api: FastAPI = FastAPIOffline(
        title="Tabular model server",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan(settings, registry, flat),
        redirect_slashes=False,
        # FastAPI's own spans and logs would hold paths and queries as they were typed.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    # Starlette's annotation names its own class, but it only ever hands on what stands here.
    api.state = _state(settings, registry, offered)  # type: ignore[assignment]
    api.include_router(service_routes())
    for name, spec in models.items():
        api.include_router(model_routes(spec, offered[name]))
    api.include_router(unknown_model_routes())
    # The first action is predict: what a dialect asks is computed together with it.
    ways = dialects.mount(api, {name: few[0] for name, few in offered.items()})
    problems.install(api)
    api.add_middleware(problems.LastResort)
    bodies = [action.judge.request for action in flat] + [
        kind for dialect in dialects.DIALECTS for kind in dialect.schemas
    ]
    _complete_openapi(api, bodies)
    return Service(api, shortcuts(flat) | ways)


def load(settings: Settings) -> Registry:
    """Choose the device, then load and prove every version below the artifacts folder."""
    registry = Registry(settings.served)
    _prepare(registry, settings)
    _scan(registry, settings, {})
    return registry


def _state(settings: Settings, registry: Registry | None, offered: Mapping[str, Sequence[Action]]) -> State:
    """What requests have at hand. A registry that is given is all there is: nobody looks at the artifacts."""
    served = registry or Registry(settings.served)
    engine, telemetry = Engine(settings.max_waiting_rows), Telemetry()

    def changed() -> None:
        engine.keep(served.servables())
        telemetry.tell_versions(served)

    scan = partial(_scan, served, settings, offered) if registry is None else lambda: False
    bodies = Bodies(max(settings.max_held_bytes, settings.max_body_bytes))
    return State(settings, telemetry, engine, served, Door(), bodies, Watch(scan, changed))


def _prepare(registry: Registry, settings: Settings) -> None:
    """Choose the device, before TensorFlow's first operation."""
    # Should TensorFlow's own code fail, the log says where: files and lines, and no value.
    faulthandler.enable()
    # Several threads would share a product of few rows by its inner sums: slower, and rounded by company.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    # Here and not above: tests of routes and problems need no TensorFlow.
    from service.servable import choose_device, keep_buffers

    keep_buffers()
    registry.device = choose_device(settings.device)
    log.info("device: %s", registry.device)
    # An empty variable is no setting: what it leaves is said.
    log.info("artifacts that may load: %s", len(settings.trusted) or settings.trusted_digests)


def _scan(registry: Registry, settings: Settings, offered: Mapping[str, Sequence[Action]]) -> bool:
    """Scan the artifacts; a version that is loaded is warmed in what is `offered` of its model."""
    from service.servable import SavedModelServable

    def loaded(folder: Path, spec: ModelSpec) -> Servable:
        servable = SavedModelServable(folder, spec, settings.trusted)
        warm(servable, offered.get(spec.name, ()))
        return servable

    return registry.scan(settings.artifacts, loaded)


def _lifespan(settings: Settings, registry: Registry | None, offered: Sequence[Action]) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = cast(State, app.state)
        security.warn(settings)
        if registry is None:
            with starting():
                _prepare(state.registry, settings)
                state.watch.begin()
                await warm_up(state.engine, state.registry, offered)
                # Else the first request of each model that names a version would wait until FastAPI has put
                # its routes together, and whoever first asks for the document would stop all others.
                app.openapi()
        for name, reason in state.registry.reasons().items():
            log.warning("not ready: %s: %s", name, reason)
        leaving = shutting_down(
            state.door, settings.drain_grace_s, settings.shutdown_timeout_s, settings.workers > 1
        )
        try:
            # To be impatient, and cancel what waits for the last answers, is no fault to be told.
            with suppress(asyncio.CancelledError):
                async with leaving, _watching(state.watch, settings.model_poll_s):
                    yield
            state.engine.close()
        finally:
            # Requests may end after this: those that the server cancels.
            state.telemetry.hold_nothing()

    return lifespan


@asynccontextmanager
async def _watching(watch: Watch, seconds: float) -> AsyncIterator[None]:
    """Look every so many seconds, 0 for never, and at SIGHUP."""
    loop = asyncio.get_running_loop()
    tasks = {loop.create_task(watch.poll(seconds))} if seconds else set[asyncio.Task[None]]()

    def look() -> None:
        tasks.add(task := loop.create_task(watch.look()))
        task.add_done_callback(tasks.discard)

    # Tests serve on other threads.
    if threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGHUP, look)
    try:
        with enlisted():
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
            if app.state.settings.api_keys_file:
                openapi.lock(app.openapi_schema, security.OPEN, security.PROBLEMS, problems.MEDIA_TYPE)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
