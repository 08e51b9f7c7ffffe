"""A connection: uvicorn's protocol within bounds.

uvicorn lets a head grow and take as long as it likes. Knows uvicorn, httptools and asyncio.
"""

import asyncio
import os
import re
import time
from collections import deque
from typing import Any, cast

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service import problems
from service.cycle import Cycle
from service.errors import HeadTooLarge, MalformedRequest, ServiceError, SlowRequest, TooLarge
from service.exchange import State
from service.idleness import Idleness
from service.requests import bound
from service.security import headers
from service.telemetry import NO_STORE, Ended
from service.transport import LingeringTransport

# A request that was on its way when the listening ended has arrived after so many seconds.
LAST_S = 0.1
MAX_HEADERS = 100
# What a client is to take of an answer in each SEND_TIMEOUT_S: two kilobytes a second, by default.
LEAST_TAKEN = 64 * 1024
SIZE = re.compile(rb"[0-9a-fA-F]+")
# Of a line that comes in parts: no number of more digits is a size, unless it begins with zeros.
LONGEST_SIZE = 32
# Where trailers go: they are no headers (RFC 9110, section 6.5.1), and none means anything here.
NOWHERE: Any = deque(maxlen=0)


class PatientFlow(FlowControl):
    """uvicorn's control of a connection, but that nothing more is read while requests of it wait.

    uvicorn reads on whenever one of them begins or ends: one connection that was never silent took two
    gigabytes in sixteen seconds.
    """

    def __init__(self, transport: asyncio.Transport, waiting: deque[Any]) -> None:
        """Control the reading by the requests that wait behind the one that is answered."""
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, once the last of those that were read has begun."""
        if not self._waiting:
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 by httptools, for an application that is a `service.app.Service`.

    Bounds what comes before there is a request, in bytes and in time, and what comes beside a body: chunk
    extensions and trailers. What it refuses is answered here, as no scope exists yet.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Take the bounds from the application's settings."""
        super().__init__(*arguments, **named)
        self._state = cast(State, cast(Any, self.app).api.state)
        self._most = self._state.settings.max_header_bytes
        # Bytes since the parser last handed over a head or a part of a body.
        self._unparsed = 0
        # Whether a chunk's size is to come, what has come of its line, and the bytes since in the same piece.
        self._awaits_size = False
        self._line = b""
        self._of_chunk: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._refused = False
        self._reading: asyncio.TimerHandle | None = None
        self._idleness = Idleness(self.loop, self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def shutdown(self) -> None:
        """End the connection, once what its client has already sent was read and answered."""
        self.loop.call_later(LAST_S, super().shutdown)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Serve a connection."""
        super().connection_made(LingeringTransport(transport, self.loop, self._sending))  # type: ignore[arg-type]
        self.flow = PatientFlow(self.transport, self.pipeline)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Serve it no more."""
        self._expect_nothing()
        self._idleness.forget()
        self.resume_writing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Write no more, as the client does not read; it has some time to go on."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """Write again."""
        super().resume_writing()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def data_received(self, data: bytes) -> None:
        """Parse what came, in pieces of which none holds much more than may come before a request."""
        self._idleness.end()
        if len(data) <= self._most:
            self._parse(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), self._most):
            self._parse(view[start : start + self._most])

    def _parse(self, data: bytes | memoryview) -> None:
        if self._refused or self.transport.is_closing():
            return  # read, so that the client can read; and forgotten
        self._unparsed += len(data)
        try:
            while data:
                data = self._fed(data)
        except HttpParserError as error:
            self._refuse(error.__context__ if isinstance(error.__context__, ServiceError) else _no_http())
            return
        except TooLarge as error:
            self._refuse(error)
            return
        if self._unparsed > self._most:
            self._refuse(self._too_large())
        elif self._timer is None and not self._answering():
            self._expect_request()

    def _fed(self, data: bytes | memoryview) -> bytes:
        """Let the parser read; return what it has still to read, once more or for the first time."""
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            return self._plain_head() + data[upgrade.args[0] :]
        if self._awaits_size:
            self._read_size(data)
        return b""

    def _read_size(self, data: bytes | memoryview) -> None:
        """Bound the chunk that begins in `data`, by the line before it: the parser does not tell its size.

        Raises TooLarge: whoever announces a gigabyte is not waited for.
        """
        lines = self._line + data[: len(data) - (self._of_chunk or 0)]
        if self._of_chunk is None:
            self._line = lines[lines.rfind(b"\n") + 1 :][:LONGEST_SIZE]
            return
        size = SIZE.match(lines.rstrip(b"\r\n").rpartition(b"\n")[2])
        self._awaits_size, self._of_chunk = False, None
        if size:
            bound(int(size[0], 16), self._state.settings.max_body_bytes)

    def on_chunk_header(self) -> None:
        """Begin a chunk."""
        self._of_chunk = 0

    def on_chunk_complete(self) -> None:
        """End a chunk."""
        self._awaits_size, self._of_chunk, self._line = True, None, b""

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        # uvicorn makes it amid a long method; a `send` put in its place would hold it, and be held by it.
        cycle.__class__ = Cycle
        super()._start_asgi_task(cycle, app)

    def on_headers_complete(self) -> None:
        """Begin to answer. Raises what the parser hands on: HeadTooLarge, MalformedRequest."""
        if len(self.headers) > MAX_HEADERS or (self._unparsed > self._most and self._head() > self._most):
            raise self._too_large()
        self._unparsed = 0
        names = [name for name, _ in self.headers]
        hosts = names.count(b"host")
        if hosts != 1 and (hosts or self.parser.get_http_version() != "1.0"):
            raise MalformedRequest("A request has one header `Host` (RFC 9112, section 3.2); send it once.")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise MalformedRequest("This is no proxy; /docs lists what can be asked.")
            return  # to read it once more
        super().on_headers_complete()
        self.headers = NOWHERE
        self._awaits_size, self._line = b"transfer-encoding" in names, b""
        if self._timer is not None:
            self._expect_nothing()
        if self.expect_100_continue:
            self.cycle.on_response = self._on_expected_response_complete

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body on."""
        self._unparsed = 0
        if self._of_chunk is not None:
            self._of_chunk += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the body, if it is not that of a head which will be parsed once more."""
        self._awaits_size = False
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:
            cycle.more_body = False
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Go on with the next request, if it has come, or wait for it."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.scope is self.cycle.scope:  # else the head of the next one has begun, and has its own time
            self._idleness.begin()

    def _on_expected_response_complete(self) -> None:
        """Close if the body has not come: whether it still will, or the next request instead, is unknown."""
        if self.cycle.more_body:
            self.transport.close()
        self.on_response_complete()

    def _plain_head(self) -> bytes:
        """The head, as if no other protocol had been asked for (RFC 9110, section 7.8): Java asks for HTTP/2.

        The parser ends such a request with its head, whatever body it has: it is to read it once more.
        """
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            if name != b"upgrade":
                head += [name, b": ", value, b"\r\n"]
        return b"".join([*head, b"\r\n"])

    def _head(self) -> int:
        """About the bytes of the head, without what is spaced out between its parts."""
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _answering(self) -> bool:
        """Whether the last request that has begun to come is being answered, or waits for it."""
        cycle = self.cycle
        return cycle is not None and cycle.scope is self.scope and not cycle.response_complete

    def _sending(self) -> bool:
        """Whether the client is in the middle of a request, or of what was refused."""
        cycle, begun = self.cycle, self.scope is not None
        whole = cycle is not None and cycle.scope is self.scope and not cycle.more_body
        return self._refused or (begun and not whole)

    def _expect_request(self) -> None:
        self._timer = self.loop.call_later(self._state.settings.header_timeout_s, self._late, self.scope)

    def _expect_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self, scope: Any) -> None:
        """Cut off a client that has not sent a whole head in time, or goes on with a refused body."""
        self._timer = None
        cycle = self.cycle
        if (cycle and not cycle.response_complete) or (scope and scope is not self.scope):
            self._expect_request()  # an earlier one is still answered, or a later one has begun since
        elif not self.scope or (cycle and cycle.scope is self.scope):
            self.transport.close()
        else:
            self._refuse(SlowRequest("The head of the request did not come in time; send it at once."))

    def _expect_reading(self) -> None:
        wait = self._state.settings.send_timeout_s
        left = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(wait, self._look_whether_read, left)

    def _look_whether_read(self, before: int) -> None:
        """Cut off a client that takes too little. What has grown meanwhile is looked at once more."""
        if 0 <= before - self.transport.get_write_buffer_size() < min(LEAST_TAKEN, before):
            self.transport.abort()
        else:
            self._expect_reading()

    def _too_large(self) -> HeadTooLarge:
        return HeadTooLarge(
            f"The head of a request may have at most {self._most:,} bytes, with its path and query, and"
            f" {MAX_HEADERS} headers; send fewer."
        )

    def _refuse(self, error: ServiceError) -> None:
        """Listen no more; answer, unless requests are answered that came before."""
        self._refused = True
        self._expect_nothing()
        cycle = self.cycle
        in_body = cycle is not None and cycle.scope is self.scope and cycle.more_body
        if self.pipeline or (cycle and not cycle.response_complete and not in_body):
            cycle.keep_alive = False  # its answer ends the connection
            return
        if not in_body or not cycle.response_started:
            self._answer(error)
        self.transport.close()

    def _answer(self, error: ServiceError) -> None:
        """Write a problem, and have it logged and counted as that of a request of which nothing is known."""
        request_id = os.urandom(16).hex()
        problem = problems.of({"state": {"request_id": request_id}}, error)
        fields = [
            *self.server_state.default_headers,
            *problem.raw_headers,
            *headers(self._state.settings),
            NO_STORE,
            (b"x-request-id", request_id.encode()),
        ]
        lines = [b"%s: %s\r\n" % field for field in fields]
        self.transport.write(b"".join([STATUS_LINE[problem.status_code], *lines, b"\r\n", problem.body]))
        ended = Ended("OTHER", "unmatched", problem.status_code, 0.0, request_id, time.time())
        self._state.telemetry.note(ended)


def _no_http() -> MalformedRequest:
    return MalformedRequest("What was sent is not HTTP/1.1; send a request as RFC 9112 describes it.")
