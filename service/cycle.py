"""The exchange of a request for an answer, as uvicorn has it, whose head is written in fewer steps.

uvicorn looks for wrong characters in every name and value of every header: a twenty-fifth of the time of a
small answer, whose headers are nearly all constants of ours (benchmarks/NOTES.md). Knows uvicorn.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

# Headers of an answer that say how it is framed, or what becomes of the connection.
SPECIAL = frozenset({b"connection", b"transfer-encoding"})
NUL = 0


class Head(NamedTuple):
    """The head of an answer, and the length of the body that it announces."""

    text: bytes
    length: int


def head_of(status: int, fields: Sequence[tuple[bytes, bytes]]) -> Head | None:
    """The head with these fields; None where they are not as usual, for uvicorn to look at one by one."""
    named = dict(fields)
    length = named.get(b"content-length", b"")
    if not length.isdigit() or not SPECIAL.isdisjoint(named):
        return None
    parts = [STATUS_LINE[status]]
    for name, value in fields:
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    text = b"".join(parts)
    whole = text.count(b"\n") == text.count(b"\r") == len(fields) + 2 and NUL not in text
    return Head(text, int(length)) if whole else None


class Cycle(RequestResponseCycle):
    """A request and its answer."""

    async def send(self, message: Any) -> None:
        """Send a part of an answer."""
        if message["type"] == "http.response.start" and self._is_open():
            head = head_of(message["status"], [*self.default_headers, *message["headers"]])
            if head is not None:
                self.response_started, self.waiting_for_100_continue = True, False
                self.chunked_encoding, self.expected_content_length = False, head.length
                self.transport.write(head.text)
                return
        await super().send(message)

    def _is_open(self) -> bool:
        """Whether an answer can begin at once, on a connection that stays."""
        begun = self.response_started or self.disconnected or self.flow.write_paused
        return self.keep_alive and not begun
