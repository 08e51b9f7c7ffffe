"""The service, but that it leaves without those inside, with exit code 0. `restarts` must notice.

BEGUN=begun.txt python -m benchmarks.dropping --port 9141
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

from benchmarks import counted  # noqa: F401, which counts from its import on
from service import shutdown
from service.__main__ import main
from service.limits import Door


class Dropping(shutdown.Shutdown):
    """Waits until somebody is inside, and ends the process."""

    def __init__(self, door: Door, grace_s: float, timeout_s: float, *leaving: Callable[[], Any]) -> None:
        """Watch the `door`."""
        super().__init__(door, grace_s, timeout_s, *leaving)
        self.door = door

    async def _steps(self, grace_s: float) -> None:
        await asyncio.sleep(grace_s)
        while not self.door.inside:
            await asyncio.sleep(0)
        os._exit(0)


if __name__ == "__main__":
    shutdown.Shutdown = Dropping  # type: ignore[misc, assignment]
    main()
