"""How connections come in: as many as are waiting, up to a bound, in each turn of the event loop.

libuv accepts one a turn. A turn of a busy service takes milliseconds, so that a crowd of new clients waited
for many seconds, unseen by limits and deadlines, while those inside were answered in time. Knows uvloop,
and whether there are other workers.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvloop

from service.workers import several

AT_ONCE = 32
# Where other workers accept too: of 32, whoever woke first took all of sixteen, and kept them.
AT_ONCE_OF_SEVERAL = 2


class Loop(uvloop.Loop):
    """uvloop's event loop, whose servers accept several connections in one turn."""

    async def create_server(
        self, protocol_factory: Callable[[], asyncio.BaseProtocol], *args: Any, **options: Any
    ) -> Any:
        """Listen as uvloop does, and see who else is waiting whenever somebody came."""
        secured = {name: options[name] for name in ("ssl",) if name in options}
        most = AT_ONCE_OF_SEVERAL if several() else AT_ONCE
        soon = False

        def accepted() -> asyncio.BaseProtocol:
            nonlocal soon
            if not soon:
                soon = True
                self.call_soon(accept)
            return protocol_factory()

        def accept() -> None:
            nonlocal soon
            soon = False
            for listener in server.sockets:
                for connection in _waiting(listener.fileno(), most):
                    connecting = self.connect_accepted_socket(protocol_factory, connection, **secured)
                    tasks.add(task := self.create_task(connecting))
                    task.add_done_callback(tasks.discard)

        tasks = set[asyncio.Task[Any]]()
        server: Any = await super().create_server(accepted, *args, **options)
        return server


def _waiting(listening: int, most: int) -> list[socket.socket]:
    """The connections that wait to be accepted, at most so many of them."""
    connections: list[socket.socket] = []
    if listening < 0:
        return connections  # it was closed meanwhile
    # Nobody waits any more, or there are no more files.
    with suppress(OSError), socket.socket(fileno=os.dup(listening)) as listener:
        listener.setblocking(False)
        while len(connections) < most:
            connections.append(listener.accept()[0])
            connections[-1].setblocking(False)
    return connections


def new_loop() -> Loop:
    """An event loop for uvicorn."""
    return Loop()
