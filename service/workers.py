"""The workers of one service: how one tells the others to look at the artifacts, and leaves its work to them.

Each has a file in the folder that they share, with its process's number for a name, and holds its lock: what
nobody holds is of a worker that died, and its number may be another's by now. Knows files and signals.
"""

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    # It gets its name once it is locked.
    made = own.with_suffix(".new")
    with made.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        made.rename(own)
        try:
            yield
        finally:
            own.unlink(missing_ok=True)


def several() -> bool:
    """Whether this process is one of several workers."""
    return SHARED in os.environ


def share() -> int:
    """Hold the folder that the workers share, until this process ends or tidies up; what `tidy` takes."""
    folder = os.open(os.environ[SHARED], os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_SH)
    return folder


def tidy(folder: int) -> None:
    """Hold it no more, and remove it if no other worker does."""
    with suppress(BlockingIOError):  # the last one will
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(os.environ[SHARED], ignore_errors=True)


def tell_others() -> None:
    """Send SIGHUP to every other worker that is enlisted."""
    for number in _others():
        with suppress(ProcessLookupError):  # it has just died
            os.kill(number, signal.SIGHUP)


def resign() -> bool:
    """Be struck off, as this worker leaves; whether others stay, to whom new connections then belong."""
    folder = os.environ.get(SHARED)
    if folder is not None:
        Path(folder, f"{os.getpid()}{SUFFIX}").unlink(missing_ok=True)
    return any(True for _ in _others())


def dismiss() -> None:
    """Strike off all, as the service leaves: none stays to whom another could leave its work."""
    for path in Path(os.environ[SHARED]).glob(f"*{SUFFIX}"):
        path.unlink(missing_ok=True)


def _others() -> Iterator[int]:
    """The processes of the other workers that are enlisted; who has died since is struck off."""
    folder = os.environ.get(SHARED)
    for path in Path(folder).glob(f"*{SUFFIX}") if folder else ():
        if (number := int(path.stem)) != os.getpid() and _is_held(path):
            yield number


def _is_held(path: Path) -> bool:
    """Whether its worker lives; the file of one that does not is struck off."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass  # it has just left
    return False
