"""What the service says of itself: a log line and a metric for every request, and never a value of one.

Paths are logged by their route's template and methods only if they are HTTP's own: both can carry
what a caller typed.
"""

import asyncio
import logging
import os
import time
from collections import Counter as Tally
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.problems import CLIENT_CLOSED
from service.registry import Registry

access = logging.getLogger("service.access")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# A line takes a tenth of a lone request's time where it is written by itself.
TOGETHER_S = 0.02
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


def logging_config(level: str) -> dict[str, Any]:
    """What goes to stderr, for `logging.config`: our lines and uvicorn's, from `level` on."""
    stderr = {"handlers": ["stderr"], "level": level.upper(), "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}, "lines": {}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "formatter": "line"},
            "lines": {"class": "logging.StreamHandler", "formatter": "lines"},
        },
        "loggers": {
            "service": stderr,
            # A record of it is the whole lines of several requests.
            "service.access": {"handlers": ["lines"], "propagate": False},
            "uvicorn": stderr,
            # Its line holds the path and the query as they were typed; ours has the route.
            "uvicorn.access": {"handlers": [], "propagate": False},
        },
    }


# Where the workers of one service keep their counts; prometheus_client reads it when it is imported.
SHARED = "PROMETHEUS_MULTIPROC_DIR"


class Ended(Struct, frozen=True):
    """A request that has been answered, by what it is known, and when: in seconds since the epoch."""

    method: str
    route: str
    status: int
    seconds: float
    request_id: str
    at: float


class Telemetry:
    """The metrics of the service, for Prometheus to fetch: of all its workers together."""

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
        # What the latest look of any worker found: a gauge of several workers has no sum.
        self.desired, self.serving = (
            Gauge(
                f"model_version_{name}",
                text,
                ["model"],
                registry=self.registry,
                multiprocess_mode="mostrecent",
            )
            for name, text in (
                ("desired", "The version that would answer if all in the artifacts folder were right"),
                ("serving", "The version that answers if none is named; 0: none"),
            )
        )
        self._ended: list[Ended] = []
        self._together_s = TOGETHER_S
        self._answered: Tally[tuple[str, int, str]] = Tally()
        # What a label set counts in is looked up once.
        self._of_request = cache(self._counted)
        self._of_rows = cache(self.rows.labels)

    def _counted(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        return self.requests.labels(method, route, status), self.seconds.labels(route)

    def note(self, ended: Ended) -> None:
        """Log and count a request some TOGETHER_S later, with those that end meanwhile."""
        # A loop that ends takes its timers with it.
        if not self._ended or ended.at - self._ended[0].at > TOGETHER_S:
            asyncio.get_running_loop().call_later(self._together_s, self.flush)
        self._ended.append(ended)

    def count_rows(self, model: str, version: int, action: str, rows: int) -> None:
        """Count rows that were answered, when their request is counted."""
        self._answered[model, version, action] += rows

    def tell_versions(self, registry: Registry) -> None:
        """Tell which version of each model answers, and which one should."""
        for model in registry.models:
            served = registry.served(model)
            self.desired.labels(model).set(served.desired or 0)
            self.serving.labels(model).set(served.answering.version if served.answering else 0)

    def hold_nothing(self) -> None:
        """From now on log and count in the next turn of the loop: the process may end at any moment."""
        self._together_s = 0
        self.flush()

    def flush(self) -> None:
        """Log and count what has ended, now."""
        ended, self._ended = self._ended, []
        answered, self._answered = self._answered, Tally()
        for labels, rows in answered.items():
            self._of_rows(*labels).inc(rows)
        for one in ended:
            requests, durations = self._of_request(one.method, one.route, one.status)
            requests.inc()
            durations.observe(one.seconds)
        if ended and access.isEnabledFor(logging.INFO):
            log_lines(ended)

    def page(self) -> bytes:
        """Every metric in Prometheus's text format."""
        self.flush()
        if SHARED not in os.environ:
            return generate_latest(self.registry)
        of_all = CollectorRegistry()
        MultiProcessCollector(of_all)  # type: ignore[no-untyped-call]
        return generate_latest(of_all)


def log_lines(ended: Sequence[Ended]) -> None:
    """Write a line for each request, all in one record: one each would cost as much as judging a row."""
    text = "\n".join(
        f"{_second(int(one.at))},{int(one.at % 1 * 1000):03d} INFO {access.name}"
        f" {one.method} {one.route} {one.status} {one.seconds * 1e3:.1f} ms {one.request_id}"
        for one in ended
    )
    # `access.info` would look for the line of code that calls it, which takes as long as all the rest.
    record = {"name": access.name, "levelno": logging.INFO, "levelname": "INFO", "msg": text}
    access.handle(logging.makeLogRecord(record))


@lru_cache(maxsize=4)
def _second(since_epoch: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since_epoch))


# An answer is about a patient, and a page of metrics old at once: nobody keeps what is not said to last.
NO_STORE = (b"cache-control", b"no-store")
# As ASGI has them, names in lower case.
Headers = Sequence[tuple[bytes, bytes]]


class RequestLog:
    """Gives every request an id and every answer its headers, and says how it ended. Pure ASGI."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, headers: Headers = ()) -> None:
        """Watch `app`; give every answer these headers too."""
        self.app = app
        self.telemetry = telemetry
        self.lasting = headers
        self.headers = (*headers, NO_STORE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, then log and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = os.urandom(16).hex()
        scope.setdefault("state", {})["request_id"] = request_id
        status = CLIENT_CLOSED
        began = time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message["headers"]
                added = self.lasting if b"cache-control" in dict(headers) else self.headers
                message["headers"] = [*headers, *added, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            seconds = time.perf_counter() - began
            method = scope["method"] if scope["method"] in METHODS else "OTHER"
            route = getattr(scope.get("route"), "path", "unmatched")
            self.telemetry.note(Ended(method, route, status, seconds, request_id, time.time()))
