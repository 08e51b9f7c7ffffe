"""Keeps what is served like the artifacts folder: polls it, and looks at once when it is told to.

Versions are loaded and proven on a thread, beside those that answer. Knows asyncio; knows nothing of HTTP
or TensorFlow.
"""

import asyncio
import gc
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

# New objects after which the collector looks at them.
GARBAGE = 10_000


def settle_heap() -> None:
    """Free what nobody holds any more, and keep the collector away from all that has come to stay.

    A full collection walks TensorFlow's object graph and stops the loop for 200 ms: once now, and not at
    some moment under load. Requests leave hardly a cycle behind: looking for them every 700 objects, as
    Python does, takes one twentieth of the time of answering.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)


class Watch:
    """Calls `scan`, which says whether it changed what is served, again and again."""

    def __init__(self, scan: Callable[[], bool], changed: Callable[[], None]) -> None:
        """When a scan has changed something, tell `changed`, on the loop."""
        self._scan = scan
        self._changed = changed
        self._one = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Scan for the first time, while nobody is served yet. Raises what the scan raises."""
        self._scan()
        self._changed()
        settle_heap()

    async def look(self) -> None:
        """Scan, beginning now or when the scan that runs has ended; whoever else waits for that waits too."""
        if self._next is None:
            self._next = asyncio.create_task(self._look())
        await asyncio.shield(self._next)

    async def _look(self) -> None:
        """Scan. What fails in a way that nobody thought of is logged: the next scan may not."""
        async with self._one:
            self._next = None
            try:
                if await asyncio.to_thread(self._scan):
                    self._changed()
                    settle_heap()
            except Exception as error:
                log.error("the artifacts could not be scanned: %s: %s", type(error).__name__, error)

    async def poll(self, seconds: float) -> None:
        """Look every so many seconds, for ever."""
        while True:
            await asyncio.sleep(seconds)
            await self.look()
