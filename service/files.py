"""Files where others write too: read if they are plain, below one root and no larger than expected.

Whoever writes there may err or mean harm: a link may lead out, a FIFO would keep a reader waiting for ever.
What is written is replaced in one step, so that nobody reads half of it.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ELOOP, ENXIO
from pathlib import Path
from stat import S_IMODE, S_IROTH, S_ISDIR, S_ISREG
from tempfile import mkstemp

from service.errors import ArtifactRejected

# Ten times what a version of ours has: beyond, it is something else that was put there.
MOST_ENTRIES = 100
MOST_BYTES = 64 * 2**20
# How long a file's folder is waited for, and how often it is tried.
PATIENCE_S = 10.0
LOOK_S = 0.02


def within(root: Path, folder: Path) -> None:
    """Raise ArtifactRejected unless `folder` lies below `root` when links are followed; `root` may be one."""
    try:
        inside = folder.resolve(strict=True).is_relative_to(root.resolve(strict=True))
    except RuntimeError:  # a link to itself
        inside = False
    if not inside:
        raise ArtifactRejected(
            "its folder is a link that leads out of the artifacts folder; copy the version into it instead"
        )


def names(folder: Path) -> Iterator[str]:
    """Every file below `folder` by its relative path, such as `variables/variables.index`.

    Raises ArtifactRejected for what is neither a plain file nor a folder: no link is followed.
    """
    for number, path in enumerate(below(folder)):
        name, mode = path.relative_to(folder).as_posix(), path.lstat().st_mode
        if not (S_ISREG(mode) or S_ISDIR(mode)):
            raise ArtifactRejected(f"{name} is neither a plain file nor a folder; copy the file itself")
        if number >= MOST_ENTRIES:
            raise ArtifactRejected(f"it has more than {MOST_ENTRIES} files; export the model again")
        if S_ISREG(mode):
            yield name


def below(folder: Path) -> Iterator[Path]:
    """Everything below `folder`, a folder before what lies in it, read as far as it is asked for.

    No link is followed. Raises OSError. Python's own walks list a whole folder first, of a million files too.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            yield Path(entry)
            if entry.is_dir(follow_symlinks=False):
                yield from below(Path(entry))


def plain(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a plain file. Raises OSError, and ArtifactRejected if it is none or is larger."""
    try:
        # Without O_NONBLOCK a FIFO would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (ELOOP, ENXIO):  # a link, a socket
            raise ArtifactRejected(f"{path.name} is no plain file") from None
        raise
    try:
        if not S_ISREG(os.fstat(descriptor).st_mode):
            raise ArtifactRejected(f"{path.name} is no plain file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1)
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise ArtifactRejected(f"{path.name} has more than {most:,} bytes; export the model again")
    return content


def replace(path: Path, text: str, mode: int) -> None:
    """Replace a file in one step: a new one gets `mode`, an old one keeps its mode, and its owner.

    It may change hands only where everybody may read it. A link at `path` is replaced, and not followed.
    Raises OSError.
    """
    handle, partial = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            before = os.lstat(path) if os.path.lexists(path) else None
            if before and S_ISREG(before.st_mode):
                mode = S_IMODE(before.st_mode)
                _keep_owner(handle, before)
            os.fchmod(handle, mode)
            file.write(text)
            file.flush()
            os.fsync(handle)
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _keep_owner(handle: int, before: os.stat_result) -> None:
    try:
        os.fchown(handle, before.st_uid, before.st_gid)
    except PermissionError:
        if not before.st_mode & S_IROTH:  # else its reader could not read it any more
            raise


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Let nobody else change a file in the folder meanwhile, so that what is read is what is replaced.

    The folder is locked and not the file, which is replaced, and may not be there yet. Raises OSError, also
    where somebody else keeps it locked for PATIENCE_S.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"somebody else has kept the folder locked for {PATIENCE_S:g} s; nothing was changed"
                ) from None
            time.sleep(LOOK_S)
        else:
            return
