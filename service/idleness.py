"""When a connection has been idle for too long, by one timer however many requests it brings.

uvicorn sets a timer after each answer and cancels it at the next request: a thirtieth of the time of a small
answer (benchmarks/NOTES.md). Knows asyncio alone.
"""

import asyncio
from collections.abc import Callable


class Idleness:
    """Calls `close` once nothing has come for so long after an answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, close: Callable[[], None]) -> None:
        """Wait for `seconds` at a time, from `begin` to `end`."""
        self._loop = loop
        self._seconds = seconds
        self._close = close
        self._since: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """An answer has gone out, and nothing has come since."""
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)

    def end(self) -> None:
        """Something has come. The timer goes on, and finds so."""
        self._since = None

    def forget(self) -> None:
        """The connection is gone."""
        self._since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._since is None:
            return  # the end of the answer sets it anew
        left = self._since + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._close()
