"""Turns: so many threads at a time, whoever has waited longest next.

Knows threads alone.
"""

from collections import deque
from threading import Lock
from types import TracebackType


class Turns:
    """Entered by at most so many threads at a time, in the order in which they came.

    A semaphore of Python's is taken again by the thread that has just left it, before one that waits has
    woken: of four large requests one then waits for all the calls of another.
    """

    def __init__(self, most: int) -> None:
        """Let `most` threads in at a time."""
        self._free = most
        self._waiting: deque[Lock] = deque()
        self._lock = Lock()

    def __enter__(self) -> None:
        """Wait for a turn."""
        mine = Lock()
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hand the turn to whoever has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1
