"""How the service leaves at SIGTERM: not ready at once, closed after a grace, gone when all is answered.

Whoever sends work here learns from /health/ready to look elsewhere, before anything is refused. Knows
signals and asyncio; knows nothing of HTTP.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

from service.limits import Door, Stage
from service.workers import resign

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# By which a supervisor tells a worker of its second signal.
HURRY = signal.SIGUSR1
# How often those inside are counted.
LOOK_S = 0.02
# What the server itself then gives to what is still running, before it cancels it.
CANCEL_AFTER_S = 1
# And what its end may take after that.
END_S = 1

Handler = Callable[[int, FrameType | None], Any]


class Shutdown:
    """Takes the steps, at a signal."""

    def __init__(
        self,
        door: Door,
        grace_s: float,
        timeout_s: float,
        leave: Callable[[], None],
        give_way: Callable[[], bool] = lambda: False,
    ) -> None:
        """Close the `door` after `grace_s`; `leave` once nobody is inside, or `timeout_s` after the signal.

        Where it could `give_way`, nobody new comes to the door, and who is there already is let in.
        """
        self._door = door
        self._grace_s = grace_s
        self._timeout_s = timeout_s
        self._leave = leave
        self._give_way = give_way
        self._leaving: asyncio.Task[None] | None = None

    def begin(self, number: int) -> None:
        """Begin at the first signal. Ctrl-C waits for nobody to look elsewhere."""
        if self._leaving is None:
            grace_s = 0 if number == signal.SIGINT else self._grace_s
            self._leaving = asyncio.get_running_loop().create_task(self._steps(grace_s))

    async def _steps(self, grace_s: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timeout_s
        grace_s = min(grace_s, self._timeout_s)
        log.info("draining: not ready any more, closing in %g s", grace_s)
        self._door.stage = Stage.DRAINING
        given_way = self._give_way()
        await asyncio.sleep(grace_s)
        if not given_way:
            self._door.stage = Stage.CLOSED
        log.info("closed: %d requests are being answered", self._door.inside)
        while self._door.inside and loop.time() < end:
            await asyncio.sleep(LOOK_S)
        self._leave()


@asynccontextmanager
async def shutting_down(
    door: Door, grace_s: float, timeout_s: float, supervised: bool
) -> AsyncIterator[None]:
    """Come before the server's own handlers of SIGTERM and SIGINT; a second signal ends it at once.

    A signal to all of a group, as Ctrl-C and systemd's stop are, reaches a worker twice, the second time from
    what supervises it: there HURRY says that a second one has come.
    """
    server = _server()
    if server is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def leave() -> None:
        server(signal.SIGTERM, None)

    def give_way() -> bool:
        """Accept no more connections, if there are others that do: they share the listening socket."""
        others = resign()
        for listening in server.__self__.servers if others else ():
            listening.close()
        return others

    shutdown = Shutdown(door, grace_s, timeout_s - CANCEL_AFTER_S - END_S, leave, give_way)
    told = False

    def received(number: int) -> None:
        nonlocal told
        if told and not supervised:
            _leave_at_once(server)
        told = True
        shutdown.begin(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, received, number)
    loop.add_signal_handler(HURRY, _leave_at_once, server)
    try:
        yield
    finally:
        loop.remove_signal_handler(HURRY)
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


@contextmanager
def starting() -> Iterator[None]:
    """End the process with 0 at SIGTERM or SIGINT, as soon as Python has its turn: nobody waits for it.

    The server itself would only note the signal, and have all models loaded before it looked.
    """
    server = _server()
    if server is None:
        yield
        return
    before = {number: signal.signal(number, _end) for number in SIGNALS}
    if getattr(getattr(server, "__self__", None), "should_exit", False):  # it came a moment ago
        _end()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _server() -> Any:
    """The server's own handler of signals; None without a server, or on another thread, as in tests."""
    handler = signal.getsignal(signal.SIGTERM)
    return handler if threading.current_thread() is threading.main_thread() and callable(handler) else None


def _end(*_: Any) -> None:
    """End without a traceback: an exception would be a start that has failed."""
    log.info("stopped while starting")
    logging.shutdown()
    os._exit(0)


def _leave_at_once(server: Handler) -> None:
    """What uvicorn takes for impatience: SIGINT once it is already leaving."""
    server(signal.SIGTERM, None)
    server(signal.SIGINT, None)
