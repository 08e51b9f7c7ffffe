"""Keeps what is served like the artifacts folder: polls it, and looks at once when it is told to.

Versions are loaded and proven on a thread, beside those that answer. Knows asyncio; knows nothing of HTTP
or TensorFlow.
"""

import asyncio
import gc
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)

# New objects after which the collector looks at them. 256 requests at a time are some 15,000, and all of use.
GARBAGE = 50_000


def freeze_heap() -> None:
    """Keep the collector away from all that is there now: TensorFlow and the service, come to stay.

    A full collection would walk their half a million objects and stop the loop for 300 ms; those of ten
    versions that are loaded later it walks in 25. Requests leave hardly a cycle behind: looking for them
    every 700 objects, as Python does, takes one twentieth of the time of answering.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE)


class Watch:
    """Calls `scan`, which says whether it changed what is served, again and again."""

    def __init__(self, scan: Callable[[], bool], changed: Callable[[], None]) -> None:
        """When a scan has changed something, tell `changed`, on the loop."""
        self._scan = scan
        self._changed = changed
        self._retired = False
        self._one = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Scan for the first time, while nobody is served yet. Raises what the scan raises."""
        freeze_heap()
        self._scan()
        self._changed()
        gc.collect()

    async def look(self) -> None:
        """Scan, beginning now or when the scan that runs has ended; whoever else waits for that waits too."""
        if self._next is None:
            self._next = asyncio.create_task(self._look())
        await asyncio.shield(self._next)

    async def _look(self) -> None:
        """Scan. What fails in a way that nobody thought of is logged: the next scan may not.

        What a scan has retired is freed at the next one: that stops the loop, and must not meet the first
        requests of its successor.
        """
        async with self._one:
            self._next = None
            try:
                if self._retired:
                    self._retired = False
                    await asyncio.to_thread(gc.collect)
                if await asyncio.to_thread(self._scan):
                    self._changed()
                    self._retired = True
            except Exception as error:
                log.error("the artifacts could not be scanned: %s: %s", type(error).__name__, error)

    async def poll(self, seconds: float) -> None:
        """Look every so many seconds, for ever."""
        while True:
            await asyncio.sleep(seconds)
            await self.look()
