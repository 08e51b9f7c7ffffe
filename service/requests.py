"""A request as it comes over HTTP: its media type, its body, its time, and whether its client is still there.

Knows HTTP and ASGI's messages; what a body means is judged in `judge`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from functools import lru_cache
from math import inf
from typing import Any
from urllib.parse import parse_qsl

from service.errors import (
    CallerGone,
    DeadlineExceeded,
    MalformedBody,
    SlowRequest,
    TooLarge,
    UnsupportedEncoding,
    UnsupportedMedia,
)
from service.features import number
from service.inflation import inflate
from service.instances import Asked
from service.judge import Judge
from service.limits import Bodies
from service.openapi import CSV, JSON
from service.parameters import from_query
from service.settings import Settings
from service.table import read_csv

# What ASGI calls the function that hands over the next message.
Receive = Callable[[], Awaitable[Any]]
CHARSETS = ("utf-8", "utf8", "us-ascii")
GZIP = (b"gzip", b"x-gzip")
# Headers that say what a body is, who answers it and when: of two nobody knows which is meant.
SINGLE = frozenset({
    b"content-type", b"content-encoding", b"request-timeout", b"inference-header-content-length", b"x-model",
})  # fmt: skip
TIMEOUT_HEADER = b"request-timeout"
PIECE = 64 * 1024
# Threads, as 50 MB take most of a second; few, as what they make is counted once it is whole.
INFLATING = ThreadPoolExecutor(2, thread_name_prefix="inflating")


class HttpCaller:
    """A client that waits for its answer, once it has sent its whole request."""

    def __init__(self, receive: Receive, timeout: float) -> None:
        """Give the client `timeout` seconds from now."""
        self._receive = receive
        self.deadline = asyncio.get_running_loop().time() + timeout

    def gave_up(self) -> bool:
        """Whether the connection is closed: after the body nothing but that can be received."""
        return _at_once(self._receive) is not None

    async def gone(self) -> None:
        """Return when the connection is closed."""
        await self._receive()


def headers_of(scope: Any) -> Mapping[bytes, bytes]:
    """The headers of a request by name. Raises MalformedBody if one of SINGLE has two values."""
    pairs = scope["headers"]
    found = dict(pairs)
    if len(found) < len(pairs):
        for name, value in pairs:
            if name in SINGLE and value != found[name]:
                header = name.decode().title()
                raise MalformedBody(f"The header {header} stands there twice, with two values; send one.")
    return found


async def body_of(
    headers: Mapping[bytes, bytes],
    receive: Receive,
    settings: Settings,
    bodies: Bodies,
    deadline: float = inf,
) -> bytes:
    """The whole body of a request, inflated if it is gzip, of at most so many bytes, whatever it announced.

    It is one of the `bodies` that are held, until the caller has it resized to 0. Raises TooLarge before it
    has read more, Overloaded, SlowRequest, DeadlineExceeded at `deadline`, a time of the loop's clock,
    UnsupportedEncoding, MalformedBody if it is no gzip, and CallerGone if the client leaves before it has
    sent all; then nothing is held.
    """
    most, encoding = settings.max_body_bytes, headers.get(b"content-encoding")
    deflated = encoding is not None and _is_gzip(encoding)
    first = _at_once(receive)
    if first is not None and not first.get("more_body", False):
        body = _part(first)
        bound(len(body), most)
        bodies.resize(0, len(body))
    else:
        slow = asyncio.get_running_loop().time() + settings.body_timeout_s
        try:
            async with asyncio.timeout_at(min(slow, deadline)):
                body = await _rest(first, receive, most, bodies)
        except TimeoutError:
            if deadline < slow:
                raise DeadlineExceeded from None
            raise SlowRequest("The body did not come in time; send fewer rows at a time.") from None
    return await _inflated(body, receive, settings, bodies, deadline) if deflated else body


async def _inflated(
    body: bytes, receive: Receive, settings: Settings, bodies: Bodies, deadline: float
) -> bytes:
    """What a gzip body becomes, which is held in its place.

    Raises TooLarge, Overloaded, MalformedBody, DeadlineExceeded and CallerGone; what nobody waits for is not
    begun.
    """
    loop = asyncio.get_running_loop()
    # The queue holds what is to be done until a thread comes to it: the body of whoever left must not stay.
    left = [body]
    done = loop.run_in_executor(
        INFLATING, lambda: inflate(left.pop(), settings.max_body_bytes, settings.max_inflation)
    )
    # After the body nothing but the end of the connection can be received.
    gone = asyncio.ensure_future(receive())
    patience = None if deadline == inf else deadline - loop.time()
    try:
        await asyncio.wait((done, gone), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise CallerGone if gone.done() else DeadlineExceeded
        inflated = done.result()
        bodies.resize(len(body), len(inflated))
    except BaseException:
        bodies.resize(len(body), 0)
        raise
    finally:
        done.cancel()
        left.clear()
        gone.cancel()
        # It holds what is raised here, and that, by its traceback, this frame and the body.
        del done
    return inflated


def announced(headers: Mapping[bytes, bytes]) -> int | None:
    """The bytes that a body is said to have; None where nothing is said."""
    digits = headers.get(b"content-length", b"")
    # Zeros may stand in front, in thousands, which int() refuses; twenty digits are beyond any bound.
    return int((digits.lstrip(b"0") or b"0")[:20]) if digits.isdigit() else None


async def _rest(first: Any, receive: Receive, most: int, bodies: Bodies) -> bytes:
    """The body whose first message this is, if one has come. Raises TooLarge, Overloaded and CallerGone."""
    # What grows in one piece is copied as it grows, and then holds half as much again; many small pieces hold
    # more than their bytes.
    pieces, last, size, whole = list[bytes](), bytearray(), 0, False
    try:
        message = first or await receive()
        while True:
            part = _part(message)
            bound(size + len(part), most)
            bodies.resize(size, size + len(part))
            size += len(part)
            last += part
            if not message.get("more_body", False):
                whole = True
                return b"".join([*pieces, last])
            if len(last) >= PIECE:
                pieces.append(bytes(last))
                last.clear()
            message = await receive()
    finally:
        if not whole:
            bodies.resize(size, 0)


def bound(size: int, most: int) -> None:
    """Raise TooLarge if a body of this size has more than `most` bytes."""
    if size > most:
        raise TooLarge(f"A body may have at most {most:,} bytes; send fewer rows at a time.")


def _part(message: Any) -> bytes:
    """What a message brings of a body. Raises CallerGone."""
    if message["type"] == "http.disconnect":
        raise CallerGone
    part: bytes = message.get("body", b"")
    return part


def _at_once(receive: Receive) -> Any:
    """The next message, if it is there already, else None; then it is still to be received."""
    receiving = receive().__await__()
    try:
        next(receiving)
    except StopIteration as received:
        return received.value
    receiving.close()
    return None


def _is_gzip(encoding: bytes) -> bool:
    """Whether a body is gzip, by its Content-Encoding. Raises UnsupportedEncoding if it is anything else."""
    coding = encoding.strip().lower()
    if coding not in (*GZIP, b"identity"):
        raise UnsupportedEncoding("This Content-Encoding is not read here; send gzip, or the body as it is.")
    return coding in GZIP


def timeout(headers: Mapping[bytes, bytes], longest: float) -> float:
    """The seconds that a request has: the client's own if they are fewer. Raises MalformedBody."""
    asked = headers.get(TIMEOUT_HEADER)
    if asked is None:
        return longest
    seconds = number(asked.decode("latin-1"))
    if isinstance(seconds, str) or not 0 < seconds < inf:
        raise MalformedBody(
            "The header Request-Timeout is no number of seconds above 0; mend it or leave it out."
        )
    return min(seconds, longest)


def reader(headers: Mapping[bytes, bytes], query: bytes, judge: Judge) -> Callable[[bytes], Asked]:
    """What reads this request's media type. Raises UnsupportedMedia or MalformedBody."""
    if media_type(headers) == CSV:
        options = from_query(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
        return lambda body: read_csv(judge, body, options)
    if query:
        raise MalformedBody("There is a query, but a JSON body has its options in `parameters`; move them.")
    return judge.json


def media_type(headers: Mapping[bytes, bytes]) -> str:
    """JSON or CSV, whichever the body is said to be. Raises UnsupportedMedia unless it is one, in UTF-8."""
    media, charset = content_type(headers.get(b"content-type", b""))
    if media not in (JSON, CSV) or charset not in CHARSETS:
        raise UnsupportedMedia("Send Content-Type: application/json or text/csv, in UTF-8.")
    return media


@lru_cache(maxsize=64)
def content_type(header: bytes) -> tuple[str, str]:
    """The media type and the charset in lower case; other parameters mean nothing here.

    A charset that is encoded, as RFC 2231 has it, is none that anybody knows: "".
    """
    message = Message()
    message["content-type"] = header.decode("latin-1")
    # Without a header the standard library would assume text/plain.
    media = message.get_content_type() if header else ""
    try:
        charset = message.get_param("charset", "utf-8")
    except ValueError:
        # Of parts with numbers that int() refuses.
        return media, ""
    return media, charset.lower() if isinstance(charset, str) else ""
