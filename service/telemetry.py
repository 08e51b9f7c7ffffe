"""What the service says of itself: a log line and a metric for every request, and never a value of one.

Paths are logged by their route's template and methods only if they are HTTP's own: both can carry
what a caller typed.
"""

import logging
import time
from typing import Any
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

# What nginx logs for a client that went away before its answer.
CLIENT_CLOSED = 499
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


def logging_config(level: str) -> dict[str, Any]:
    """What goes to stderr, for `logging.config`: our lines and uvicorn's, from `level` on."""
    stderr = {"handlers": ["stderr"], "level": level.upper(), "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {
            "service": stderr,
            "uvicorn": stderr,
            # Its line holds the path and the query as they were typed; ours has the route.
            "uvicorn.access": {"handlers": [], "propagate": False},
        },
    }


class Telemetry:
    """The metrics of one process, for Prometheus to fetch."""

    def __init__(self) -> None:
        """Start with every counter at zero."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "http_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "http_request_duration_seconds",
            "Time from the header of a request to the end of its answer",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.rows = Counter(
            "model_rows", "Rows answered", ["model", "version", "action"], registry=self.registry
        )

    def page(self) -> bytes:
        """Every metric in Prometheus's text format."""
        return generate_latest(self.registry)


class RequestLog:
    """Gives every request an id, and says how it ended. Pure ASGI."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        """Watch `app`."""
        self.app = app
        self.telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, then log and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = CLIENT_CLOSED
        began = time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        route = getattr(scope.get("route"), "path", "unmatched")
        self.telemetry.requests.labels(method, route, status).inc()
        self.telemetry.seconds.labels(route).observe(seconds)
        request_id = scope["state"]["request_id"]
        log.info("%s %s %d %.1f ms %s", method, route, status, seconds * 1e3, request_id)
