"""The exchange of a request for an answer, as uvicorn has it, but written at once and in fewer steps.

uvicorn writes the head of an answer and the body after it: two packets, where one does. And it looks for
wrong characters in every name and value of every header: a twenty-fifth of the time of a small answer, whose
headers are nearly all constants of ours (benchmarks/NOTES.md). Knows uvicorn.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

NUL = 0
# What is larger costs more to copy than to write by itself.
LARGEST_JOINED = 64 * 1024


class Head(Struct, frozen=True):
    """The head of an answer, and the length of the body that it announces."""

    text: bytes
    length: int


def head_of(status: int, fields: Sequence[tuple[bytes, bytes]]) -> Head | None:
    """The head with these fields; None where they are not as usual, for uvicorn to look at one by one."""
    named = dict(fields)
    length = named.get(b"content-length", b"")
    # What frames an answer otherwise, or ends its connection, is uvicorn's to write.
    if not length.isdigit() or b"connection" in named or b"transfer-encoding" in named:
        return None
    text = b"%b%b\r\n\r\n" % (STATUS_LINE[status], b"\r\n".join(map(b": ".join, fields)))
    whole = text.count(b"\n") == text.count(b"\r") == len(fields) + 2 and NUL not in text
    return Head(text, int(length)) if whole else None


class Cycle(RequestResponseCycle):
    """A request and its answer, whose head waits for the body."""

    # What is not written yet. Of the class, as uvicorn makes the cycle, which then becomes one of these.
    _head = b""

    async def send(self, message: Any) -> None:
        """Send a part of an answer."""
        if self._head:
            if self._is_open() and self._is_all(message):
                self._end(message.get("body", b""))
                return
            self._write_head()
        elif message["type"] == "http.response.start" and self._is_open() and self._hold(message):
            return
        await super().send(message)

    async def send_500_response(self) -> None:
        """Say that the application has failed: whatever it began to say has not been sent."""
        self._head, self.chunked_encoding = b"", None
        await super().send_500_response()

    def _is_open(self) -> bool:
        """Whether the client reads, and its connection stays."""
        return self.keep_alive and not self.disconnected and not self.flow.write_paused

    def _hold(self, start: Any) -> bool:
        """Keep the head of an answer, if it is a usual one and the first."""
        if self.response_started:
            return False
        head = head_of(start["status"], [*self.default_headers, *start["headers"]])
        if head is not None:
            self._head, self.expected_content_length = head.text, head.length
            self.chunked_encoding, self.waiting_for_100_continue = False, False
        return head is not None

    def _is_all(self, message: Any) -> bool:
        """Whether a message is the whole body that was announced."""
        if message["type"] != "http.response.body" or self.scope["method"] == "HEAD":
            return False
        return not message.get("more_body") and len(message.get("body", b"")) == self.expected_content_length

    def _end(self, body: bytes) -> None:
        """Write all of the answer."""
        if len(body) <= LARGEST_JOINED:
            self._head += body
            self._write_head()
        else:
            self._write_head()
            self.transport.write(body)
        self.response_complete, self.expected_content_length = True, 0
        self.message_event.set()
        self.on_response()

    def _write_head(self) -> None:
        self.transport.write(self._head)
        self._head, self.response_started = b"", True
