"""Reading what others write: plain files, those of artifacts below one root, and no more than expected.

Whoever writes there may err or mean harm: a link may lead out, a FIFO would keep a reader waiting for ever.
"""

import os
from collections.abc import Iterator
from errno import ELOOP, ENXIO
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from service.errors import ArtifactRejected

# Ten times what a version of ours has: beyond, it is something else that was put there.
MOST_ENTRIES = 100
MOST_BYTES = 64 * 2**20


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
