"""The workers of one service, and how one of them tells the others to look at the artifacts.

Each has a file in the folder that they share, with its process's number for a name. Knows files and signals.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.telemetry import SHARED

SUFFIX = ".worker"


@contextmanager
def enlisted() -> Iterator[None]:
    """Be told by the others, as SIGHUP; a service of one worker shares no folder, and has no others."""
    folder = os.environ.get(SHARED)
    if folder is None:
        yield
        return
    own = Path(folder, f"{os.getpid()}{SUFFIX}")
    own.touch()
    try:
        yield
    finally:
        own.unlink(missing_ok=True)


def tell_others() -> None:
    """Send SIGHUP to every other worker that is enlisted; who has died since is struck off."""
    folder = os.environ.get(SHARED)
    for path in Path(folder).glob(f"*{SUFFIX}") if folder else ():
        number = int(path.stem)
        if number == os.getpid():
            continue
        try:
            os.kill(number, signal.SIGHUP)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
