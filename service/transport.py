"""How bytes leave: uvicorn's protocol, but a response's head and body go out together.

uvicorn writes the head at once and the body after it: two system calls and two packets for each answer,
where one does. Knows uvicorn and asyncio.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# What is larger costs more to copy than to write by itself.
LARGEST_JOINED = 64 * 1024
# A request that was on its way when the listening ended has arrived after so many seconds.
LINGER_S = 0.1


class JoiningTransport:
    """A transport that writes what was handed to it during one turn of the event loop at its end."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Write to `transport`."""
        self._transport = transport
        self._loop = loop
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
        """Write what is left, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if not parts or self._transport.is_closing():
            return  # the client is gone, and the socket with it
        if sum(map(len, parts)) <= LARGEST_JOINED:
            parts = [b"".join(parts)]
        for part in parts:
            self._transport.write(part)


class JoiningProtocol(HttpToolsProtocol):
    """HTTP/1.1 by httptools."""

    def shutdown(self) -> None:
        """End the connection, once what its client has already sent was read and answered."""
        self.loop.call_later(LINGER_S, super().shutdown)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Serve a connection."""
        super().connection_made(JoiningTransport(transport, self.loop))  # type: ignore[arg-type]
