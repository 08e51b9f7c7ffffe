"""Who may ask: what stands before the routes when the settings ask for it, and nothing otherwise.

Pure ASGI. Which keys there are is known in `keys`, who has asked how often in `rates`.
"""

import asyncio
import ipaddress
import logging
import re
import ssl
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers as RequestHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service import keys, problems
from service.errors import Misconfigured, MissingScope, ServiceError, UnknownKey
from service.keys import KeyFile
from service.limits import HEALTH, is_probe
from service.rates import Rate, network, store
from service.settings import Settings
from service.telemetry import Headers

log = logging.getLogger(__name__)

# Whoever starts and stops the process has no key.
OPEN = HEALTH
# A browser can send a key only once it has these: they say what can be asked, and nothing of what is served.
DOCUMENTS = re.compile(r"/|/docs|/openapi\.json|/static-offline-docs/.*")
READING = frozenset({"GET", "HEAD", "OPTIONS"})
# A POST that only lists what is served, as a dialect has it.
LISTINGS = frozenset({"/v2/repository/index"})
PROBLEMS = {"401": "no key, or none that is alive", "403": "the key has not the scope"}

# What every answer tells a browser: types are what they are said to be, and nothing is framed or passed on.
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
# A browser that has been here over TLS comes back by nothing else, for a year (RFC 6797).
TLS_ONLY = (b"strict-transport-security", b"max-age=31536000")
# What a page of another origin may send, and read of an answer.
ASKED_BY_PAGES: dict[str, Any] = {
    "allow_methods": ("GET", "HEAD", "POST"),
    "allow_headers": (
        "Authorization",
        "X-API-Key",
        "Content-Type",
        "Content-Encoding",
        "Request-Timeout",
        "X-Model",
        "Inference-Header-Content-Length",
    ),
    "expose_headers": ("X-Request-ID", "Retry-After", "Inference-Header-Content-Length"),
}
REFUSED = (
    "A page of this origin, with this method or these headers, may not ask; Access-Control-Allow-Methods and"
    " -Headers name what is allowed, and the setting `cors_origins` lists the origins."
)
ENTITY = frozenset({"content-type", "content-length"})


def needed(method: str, path: str) -> keys.Scope | None:
    """The scope that a request needs: None where any key will do.

    Reading needs none, all else `predict`, but for `evaluate` and what lies below /admin.
    """
    if path.startswith("/admin"):
        return "admin"
    if method in READING or path in LISTINGS:
        return None
    # The router lets a path end in a line feed.
    return "evaluate" if path.rstrip("\n").endswith("/evaluate") else "predict"


def presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The key of a request, b"" without one: a bearer token (RFC 6750, section 2.1), else X-API-Key."""
    key = b""
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].strip()
        if name == b"x-api-key":
            key = value
    return key


class Admission:
    """Lets those requests pass that have a key with the scope they need, and not too many. Pure ASGI."""

    def __init__(
        self, app: ASGIApp, file: KeyFile | None, rate: Rate | None, routes: Mapping[str, Any],
        health_route: str | None = None,
    ) -> None:  # fmt: skip
        """Guard `app`, without a file by the rate alone; `routes` are those that refusals are logged by."""
        self.app = app
        self._health_route = health_route
        self._file = file
        self._rate = rate
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer why not."""
        try:
            if scope["type"] == "http" and not is_probe(scope, self._health_route):
                await self._admit(scope)
        except ServiceError as error:
            scope["route"] = self._routes.get(scope["path"])
            await problems.of(scope, error)(scope, receive, send)
        except (Exception, asyncio.CancelledError) as error:
            await problems.unexpected(scope, error)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        key = presented(scope["headers"])
        holder = self._file.known().holder(key) if self._file and key else None
        if self._rate:
            # Guesses count against the address that they come from.
            await self._rate.spend(*(("key", holder.name) if holder else ("address", _address(scope))))
        if not self._file or (scope["method"] in READING and DOCUMENTS.fullmatch(scope["path"])):
            return
        if holder is None:
            raise UnknownKey
        asked = needed(scope["method"], scope["path"])
        if asked is not None and asked not in holder.scopes:
            raise MissingScope(asked)


class Pages(CORSMiddleware):
    """Lets pages of other origins ask; who may not is told so by a problem, as everybody else is."""

    def preflight_response(self, request_headers: RequestHeaders) -> Any:
        """What a browser is answered that asks whether its page may ask."""
        response = super().preflight_response(request_headers)
        if response.status_code == HTTPStatus.OK:
            return response
        allowed = {name: value for name, value in response.headers.items() if name not in ENTITY}

        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            refusal = problems.problem(scope, "page refused", response.status_code, REFUSED, headers=allowed)
            await refusal(scope, receive, send)

        return refuse


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return network(client[0]) if client else "unknown"


def headers(settings: Settings) -> Headers:
    """What every answer has beside its own headers."""
    return (*HEADERS, TLS_ONLY) if settings.tls_certificate else HEADERS


def guarded(app: ASGIApp, settings: Settings, routes: Mapping[str, Any]) -> ASGIApp:
    """`app` behind what the settings ask for. Raises Misconfigured."""
    file = KeyFile(settings.api_keys_file) if settings.api_keys_file else None
    rate = Rate(settings.rate_limit, store(settings.rate_limit_storage)) if settings.rate_limit else None
    if file or rate:
        app = Admission(app, file, rate, routes, settings.aip_health_route)
    if settings.cors_origins:
        # Before the keys: a browser asks whether it may ask without one, and its page may read a 401.
        app = Pages(app, settings.cors_origins.split(","), **ASKED_BY_PAGES)
    return app


def check(settings: Settings) -> None:
    """Try what the settings name, before anything is started. Raises Misconfigured."""
    if settings.api_keys_file:
        keys.read(settings.api_keys_file)
    if settings.rate_limit:
        store(settings.rate_limit_storage)
    if settings.tls_certificate and settings.tls_key:
        _check_certificate(settings.tls_certificate, settings.tls_key)


def warn(settings: Settings) -> None:
    """Say so in the log if anybody can ask."""
    if not settings.api_keys_file and not _is_loopback(settings.host):
        log.warning(
            "whoever reaches this port may ask: it listens beyond loopback, and API_KEYS_FILE is not set"
        )


def _check_certificate(certificate: Path, key: Path) -> None:
    # Without a password it would be asked for on a terminal, where there may be none.
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError):
        raise Misconfigured(
            "tls_certificate and tls_key are no PEM files of a certificate and its own key without a password"
        ) from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
