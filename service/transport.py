"""How answers leave: in one piece.

uvicorn writes the head of an answer at once and the body after it: two system calls and two packets, where
one does. Knows asyncio.
"""

import asyncio
from collections.abc import Callable
from typing import Any

# What is larger costs more to copy than to write by itself.
LARGEST_JOINED = 64 * 1024
# What a client that is still sending has to read its answer. Closing at once would be a reset, which can
# reach it before the answer does (RFC 9112, section 9.6).
LINGER_S = 1.0


class JoiningTransport:
    """A transport that writes what was handed to it during one turn of the event loop at its end."""

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, sending: Callable[[], bool]
    ) -> None:
        """Write to `transport`, whose client may be `sending` when it is closed."""
        self._transport = transport
        self._loop = loop
        self._sending = sending
        self._parts: list[bytes] = []
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write soon."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Write what is left, then close; whoever is still sending is given a moment to read it."""
        self._flush()
        if self.is_closing() or not self._sending():
            self._transport.close()
            return
        self.is_closing = lambda: True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._loop.call_later(LINGER_S, self._transport.close)

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if not parts or self.is_closing():
            return  # the client is gone, and the socket with it
        if sum(map(len, parts)) <= LARGEST_JOINED:
            parts = [b"".join(parts)]
        for part in parts:
            self._transport.write(part)
