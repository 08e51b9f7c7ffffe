"""Exceptions -> application/problem+json (RFC 9457), or below a dialect's paths its own envelope.

Every error of every dialect is made here.
"""

import asyncio
import logging
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import (
    CallerGone,
    DeadlineExceeded,
    HeadTooLarge,
    InvalidParameters,
    InvalidRows,
    MalformedBody,
    MalformedRequest,
    MissingScope,
    ModelFailure,
    NotReady,
    Overloaded,
    RateExceeded,
    RefusedBody,
    ServiceError,
    ShuttingDown,
    SlowRequest,
    TooLarge,
    UnknownDrawing,
    UnknownKey,
    UnknownModel,
    UnknownVersion,
    UnsupportedEncoding,
    UnsupportedMedia,
    Violation,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# A version takes seconds to load, a queue less than one to empty.
RETRY_AFTER_S = {HTTPStatus.SERVICE_UNAVAILABLE: "5", HTTPStatus.TOO_MANY_REQUESTS: "1"}
# What nginx logs for a client that went away before its answer.
CLIENT_CLOSED = 499

STATUS: dict[type[ServiceError], HTTPStatus] = {
    MalformedRequest: HTTPStatus.BAD_REQUEST,
    MalformedBody: HTTPStatus.BAD_REQUEST,
    UnknownKey: HTTPStatus.UNAUTHORIZED,
    MissingScope: HTTPStatus.FORBIDDEN,
    UnknownModel: HTTPStatus.NOT_FOUND,
    UnknownVersion: HTTPStatus.NOT_FOUND,
    UnknownDrawing: HTTPStatus.NOT_FOUND,
    SlowRequest: HTTPStatus.REQUEST_TIMEOUT,
    TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedEncoding: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HeadTooLarge: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    InvalidRows: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidParameters: HTTPStatus.UNPROCESSABLE_ENTITY,
    Overloaded: HTTPStatus.TOO_MANY_REQUESTS,
    RateExceeded: HTTPStatus.TOO_MANY_REQUESTS,
    ModelFailure: HTTPStatus.INTERNAL_SERVER_ERROR,
    NotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    ShuttingDown: HTTPStatus.SERVICE_UNAVAILABLE,
    DeadlineExceeded: HTTPStatus.GATEWAY_TIMEOUT,
}

HEADERS: dict[type[ServiceError], dict[str, str]] = {
    # RFC 6750, section 3.
    UnknownKey: {"WWW-Authenticate": "Bearer"},
    # RFC 9110, section 12.5.3.
    UnsupportedEncoding: {"Accept-Encoding": "gzip"},
    # What may still come of such a request is not waited for.
    MalformedRequest: {"Connection": "close"},
    SlowRequest: {"Connection": "close"},
    HeadTooLarge: {"Connection": "close"},
    TooLarge: {"Connection": "close"},
}

TITLES: dict[int, str] = {
    400: "The request cannot be read",
    401: "A key is needed",
    403: "This key may not",
    404: "There is nothing here",
    405: "This method is not allowed here",
    408: "The request came too slowly",
    413: "The body is too large",
    415: "This media type is not read here",
    422: "A value breaks the declaration",
    429: "Too much at a time",
    431: "The head is too large",
    500: "The service failed",
    503: "Not ready",
    504: "The time is over",
}


class Fault(BaseModel):
    """One place of the request that has to be mended."""

    pointer: str = Field(description="JSON pointer into the body, such as #/instances/3/age")
    detail: str = Field(description="what was wrong, what is allowed, what to do")
    code: str = Field(description="stable, for programs")


class Problem(BaseModel):
    """An error as RFC 9457 describes it. It never repeats a value of the request."""

    type: str = Field(description="names the kind of problem, for programs")
    title: str
    status: int
    detail: str
    instance: str = Field(description="this very occurrence; the log has the same id")
    errors: list[Fault] | None = Field(default=None, description="at most 100 places")

    @property
    def text(self) -> str:
        """All of it that a dialect with one string for an error can say.

        Each place in a line, after the detail unless that says no more than that there are some; and the id
        where only the operator can help.
        """
        places = [f"{fault.pointer}: {fault.detail}" for fault in self.errors or ()]
        if self.status == HTTPStatus.UNPROCESSABLE_ENTITY and places:
            return "\n".join(places)
        told = [self.instance] if self.status == HTTPStatus.INTERNAL_SERVER_ERROR else []
        return "\n".join([self.detail, *places, *told])


# How a dialect words a problem. Headers that say what to do, such as Retry-After, are added here.
Envelope = Callable[[Problem], Response]
# By the whole path of a request; filled by `dialects.mount`. What no pattern matches gets problem+json.
ENVELOPES: dict[re.Pattern[str], Envelope] = {}


def problem(
    scope: Scope,
    kind: str,
    status: int,
    detail: str,
    violations: Sequence[Violation] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the response of one problem, in the path's dialect; `kind` is words, such as "invalid rows"."""
    title = TITLES.get(status, HTTPStatus(status).phrase)
    said = Problem(
        type=f"urn:problem:{kind.lower().replace(' ', '-')}",
        title=title,
        status=status,
        detail=detail,
        instance=f"urn:request:{_request_id(scope)}",
        errors=[Fault(pointer=v.pointer, detail=v.detail, code=v.code) for v in violations] or None,
    )
    extra = {"Retry-After": RETRY_AFTER_S[HTTPStatus(status)]} if status in RETRY_AFTER_S else {}
    response = _envelope(scope)(said)
    response.headers.update({**extra, **(headers or {})})
    return response


def _envelope(scope: Scope) -> Envelope:
    """How the dialect of a request's path words a problem."""
    path = scope.get("path", "")
    return next((word for paths, word in ENVELOPES.items() if paths.fullmatch(path)), _native)


def _native(said: Problem) -> Response:
    return Response(said.model_dump_json(exclude_none=True), said.status, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every exception that the app raises on purpose with its problem."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _path_error)


def of(scope: Scope, error: ServiceError) -> Response:
    """The problem that an exception is to this request's caller."""
    if isinstance(error, CallerGone):
        return Response(status_code=CLIENT_CLOSED)  # nobody reads it but the log
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return _failure(scope, error)
    violations = error.violations if isinstance(error, RefusedBody) else ()
    return problem(scope, _words(error), status, str(error), violations, _headers(error))


def _headers(error: ServiceError) -> dict[str, str]:
    """The headers that say what to do, and what becomes of the connection."""
    if isinstance(error, RateExceeded):
        return {"Retry-After": str(error.seconds)}
    return HEADERS.get(type(error), {})


class Prepared:
    """The problem of an exception that is the same for every native request, but for its id. Pure ASGI.

    Who refuses has no time: building the problem anew took as long as all the rest of a refusal.
    """

    def __init__(self, error: ServiceError) -> None:
        """Build it once."""
        self._error = error
        place = "0" * 32
        response = of({"state": {"request_id": place}}, error)
        self._status = response.status_code
        self._headers = [pair for pair in response.raw_headers if pair[0] != b"content-length"]
        self._before, self._after = bytes(response.body).split(place.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it, with the id of this request; below a dialect's paths in its words."""
        if _envelope(scope) is not _native:
            await of(scope, self._error)(scope, receive, send)
            return
        body = self._before + _request_id(scope).encode() + self._after
        headers = [*self._headers, (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@cache
def overloaded(detail: str) -> Prepared:
    """The problem of Overloaded with this detail, of which there are few."""
    return Prepared(Overloaded(detail))


async def _service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return of(request.scope, error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    details = {
        404: "No route has this path; /docs lists them.",
        405: "The path exists, but not with this method; the header Allow lists those it has.",
    }
    detail = details.get(error.status_code, "The request was refused.")
    kind = HTTPStatus(error.status_code).phrase
    return problem(request.scope, kind, error.status_code, detail, headers=error.headers)


async def _path_error(request: Request, _: Exception) -> Response:
    """FastAPI validates nothing but version and label in a path: what cannot be one is not there."""
    detail = "A version is a whole number from 1, a label a word; GET /models lists those that are served."
    return problem(request.scope, "unknown version", HTTPStatus.NOT_FOUND, detail)


class LastResort:
    """Answers an exception that nobody expected with 500 and an id; the log gets the id and the place.

    Pure ASGI, inside Starlette's own handler, which would let the server log the exception's message:
    that may hold a value of the request.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Guard `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; answer a problem if it fails before the response has begun."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except (Exception, asyncio.CancelledError) as error:
            if not started:
                await unexpected(scope, error)(scope, receive, send)


def unexpected(scope: Scope, error: BaseException) -> Response:
    """The problem of an exception that nobody raised on purpose."""
    if isinstance(error, asyncio.CancelledError):
        # The server ends requests that outlast SHUTDOWN_TIMEOUT_S.
        detail = "The service is shutting down and could not finish in time; send the request again."
        return problem(scope, "shutting down", HTTPStatus.SERVICE_UNAVAILABLE, detail)
    return _failure(scope, error)


def _failure(scope: Scope, error: BaseException) -> Response:
    frames = traceback.extract_tb(error.__traceback__)
    place = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    log.error("request %s failed: %s at %s", _request_id(scope), type(error).__name__, place)
    detail = "The service has a bug or a broken model; report the id of this request to its operator."
    return problem(scope, "failure", HTTPStatus.INTERNAL_SERVER_ERROR, detail)


def _words(error: ServiceError) -> str:
    """The name of an exception as words: InvalidRows is invalid rows."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__)


def _request_id(scope: Scope) -> str:
    return str(scope.get("state", {}).get("request_id", "unknown"))
