"""Keys: who may ask for what. Only the hashes of keys are kept, in a file that is read again when it changes.

    [{"name": "lab", "sha256": "64 digits of base 16", "scopes": ["predict"],
      "created": "2026-11-25T12:00:00Z"}]

Several entries may bear one name: a key is renewed by a second one, and ended by removing its entry.
Knows files and hashes; knows nothing of HTTP.
"""

import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from service.errors import ArtifactRejected, Misconfigured
from service.files import plain, replace

log = logging.getLogger(__name__)

Scope = Literal["predict", "evaluate", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
# So that searches for leaked secrets know one when they see it.
PREFIX = "tms_"
BYTES = 32
# Seconds between two looks at the file: how long a key outlives its entry at most.
POLL_S = 1.0
# Some thousand entries. The file is read where requests are answered, which may not wait for it.
MOST_BYTES = 2**20


class Entry(BaseModel):
    """A key as the file knows it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=f"^{NAME}$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...]
    created: AwareDatetime


_ENTRIES = TypeAdapter(list[Entry])


def new(name: str, scopes: Sequence[Scope]) -> tuple[str, Entry]:
    """A new key, which is nowhere kept, and its entry."""
    key = PREFIX + secrets.token_urlsafe(BYTES)
    now = datetime.now(UTC).replace(microsecond=0)
    return key, Entry(name=name, sha256=sha256(key.encode()).hexdigest(), scopes=tuple(scopes), created=now)


class Unreadable(Misconfigured):
    """The file is not there, or the system does not let it be read at this moment."""


def read(path: Path) -> list[Entry]:
    """The entries of a file. Raises Misconfigured, which says where it is wrong and repeats none of it."""
    try:
        # Links are followed: what Kubernetes mounts is one.
        entries = _ENTRIES.validate_json(plain(Path(os.path.realpath(path)), MOST_BYTES))
    except OSError as error:
        raise Unreadable(f"the file of keys (API_KEYS_FILE) cannot be read: {error.strerror}") from None
    except ArtifactRejected:
        raise Misconfigured(
            f"the file of keys (API_KEYS_FILE) is no plain file of at most {MOST_BYTES:,} bytes; name the one"
            " that `python -m service key new NAME` writes"
        ) from None
    except ValidationError as error:
        raise Misconfigured(
            f"the file of keys is wrong at {_place(error)}; `python -m service key new NAME` writes it"
        ) from None
    if len({entry.sha256 for entry in entries}) < len(entries):
        raise Misconfigured("the file of keys has two entries of one hash; remove one")
    return entries


def _place(error: ValidationError) -> str:
    """Where the first fault of a file is, and what is expected there; a field is named if entries have it."""
    fault = error.errors(include_input=False, include_url=False)[0]
    number, field = [*fault["loc"], None, None][:2]
    place = "its beginning" if number is None else f"entry {int(number) + 1}"
    return place + (f", {field}" if field in Entry.model_fields else "") + f": {fault['msg']}"


def write(path: Path, entries: Sequence[Entry]) -> None:
    """Replace the file: a new one is its owner's alone. Raises OSError."""
    listed = [entry.model_dump(mode="json") for entry in entries]
    replace(path.resolve(), json.dumps(listed, indent=1) + "\n", 0o600)


class Known:
    """The keys that are alive."""

    def __init__(
        self, entries: Sequence[Entry], same: Callable[[bytes, bytes], bool] = hmac.compare_digest
    ) -> None:
        """Know the keys of these entries; `same` says of two hashes whether they are one."""
        self._entries = [(bytes.fromhex(entry.sha256), entry) for entry in entries]
        self._same = same

    def holder(self, key: bytes) -> Entry | None:
        """The entry of a key, None if it has none.

        Every entry is looked at, to its end, whichever is found: the time says nothing of what is right.
        """
        asked, found = sha256(key).digest(), None
        for digest, entry in self._entries:
            if self._same(asked, digest):
                found = entry
        return found


# What differs when a file is another: written, replaced, or closed to its reader.
Stamp = tuple[int, int, int, int]


class KeyFile:
    """The keys of a file, as it is now, give or take a second."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file. Raises Misconfigured."""
        self._path = path
        self._clock = clock
        self._stamp = _stamp(path)
        self._known = Known(read(path))
        self._said = ""
        self._next = clock() + POLL_S

    def known(self) -> Known:
        """The keys; looks at the file if the last look is more than a second ago."""
        now = self._clock()
        if now >= self._next:
            self._next = now + POLL_S
            self._look()
        return self._known

    def _look(self) -> None:
        """Read the file if it is another; keep the keys that there were if it is not one."""
        stamp = _stamp(self._path)
        if stamp is not None and stamp == self._stamp:
            return
        self._stamp = stamp  # from before the reading: what is written meanwhile is seen next time
        try:
            entries = read(self._path)
        except Misconfigured as error:
            if isinstance(error, Unreadable):
                self._stamp = None  # the fault may be the system's: the same file is tried again
            if self._said != str(error):
                log.error("%s; the keys stay those of before, revoked ones too", error)
            self._said = str(error)
            return
        self._known, self._said = Known(entries), ""
        log.info("keys read: %d", len(entries))


def _stamp(path: Path) -> Stamp | None:
    try:
        now = path.stat()
    except OSError:
        return None
    return now.st_mtime_ns, now.st_ctime_ns, now.st_size, now.st_ino
