"""How a connection ends: its client is given a moment to read what it was last answered. Knows asyncio."""

import asyncio
from collections.abc import Callable
from typing import Any

# What a client that is still sending has to read its answer. Closing at once would be a reset, which can
# reach it before the answer does (RFC 9112, section 9.6).
LINGER_S = 1.0


class LingeringTransport:
    """A transport that, where its client is in the middle of sending, is closed a little later."""

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, sending: Callable[[], bool]
    ) -> None:
        """Write to `transport`, whose client may be `sending` when it is closed."""
        self._transport = transport
        self._loop = loop
        self._sending = sending
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, unless it is closed."""
        if not self.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Close, once what is left was written; whoever is still sending is given a moment to read it."""
        if self.is_closing() or not self._sending():
            self._transport.close()
            return
        self.is_closing = lambda: True
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._loop.call_later(LINGER_S, self._transport.close)
