"""The file of keys: hashes only, read again when it changes, kept when it breaks; and its commands."""

import json
import logging
import os
import resource
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from processes import run_together

from service import keys
from service.commands import run
from service.errors import Misconfigured
from service.keys import KeyFile, Known
from service.settings import Settings


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def made(file: Path, *names: str) -> list[str]:
    """A file of new keys with these names; the keys."""
    both = [keys.new(name, ["predict"]) for name in names]
    keys.write(file, [entry for _, entry in both])
    return [key for key, _ in both]


def command(file: Path, *words: str) -> int:
    return run(["key", *words, "--file", str(file)], Settings())


@pytest.mark.parametrize("place", [0, 1, 2, None])
def test_every_entry_is_compared_to_its_end_whichever_is_found(place: int | None) -> None:
    """The time of a comparison says nothing of what matched: whole hashes, all of them, in one order."""
    three = [keys.new(name, ["predict"]) for name in ("first", "second", "third")]
    compared = []

    def same(asked: bytes, known: bytes) -> bool:
        compared.append((asked, known))
        return asked == known

    key = b"tms_wrong" if place is None else three[place][0].encode()
    found = Known([entry for _, entry in three], same).holder(key)

    assert found == (None if place is None else three[place][1])
    assert compared == [(sha256(key).digest(), bytes.fromhex(entry.sha256)) for _, entry in three]


def test_hashes_are_compared_in_constant_time_by_default() -> None:
    """`hmac.compare_digest` of 32 bytes each, never `==`."""
    _, entry = keys.new("one", ["predict"])

    assert Known([entry])._same is keys.hmac.compare_digest


def test_a_changed_file_is_read_again_within_a_second(file: Path) -> None:
    """A look a second, at a request: revoked keys stop, new ones begin."""
    first, second = made(file, "first", "second")
    clock = Clock()
    known = KeyFile(file, clock)
    keys.write(file, keys.read(file)[1:])

    clock.now = keys.POLL_S - 0.01
    assert known.known().holder(first.encode())
    clock.now = keys.POLL_S
    assert known.known().holder(first.encode()) is None
    assert known.known().holder(second.encode())


@pytest.mark.parametrize("broken", ["", "{}", '[{"MARKER": "MARKER"}]', '[{"name": "MARKER', None])
def test_a_file_that_breaks_keeps_the_keys_that_there_were(
    file: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so once, without a word of the file; a mended one counts again."""
    caplog.set_level(logging.INFO)
    (key,) = made(file, "one")
    clock = Clock()
    known = KeyFile(file, clock)
    file.unlink() if broken is None else file.write_text(broken)

    for clock.now in (1.0, 2.0, 3.0):
        assert known.known().holder(key.encode())
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "MARKER" not in caplog.text

    (new,) = made(file, "another")
    clock.now = 4.0
    assert known.known().holder(key.encode()) is None
    assert known.known().holder(new.encode())


def test_a_revoked_key_stops_once_the_system_lets_the_file_be_read(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All files are open: the revocation is not lost, though the file does not change again."""
    first, second = made(file, "first", "second")
    clock = Clock()
    known = KeyFile(file, clock)
    keys.write(file, keys.read(file)[1:])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        for clock.now in (1.0, 2.0):
            assert known.known().holder(first.encode())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    clock.now = 3.0
    assert known.known().holder(first.encode()) is None
    assert known.known().holder(second.encode())
    assert [record.levelname for record in caplog.records if record.levelno > logging.INFO] == ["ERROR"]
    assert "Too many open files" in caplog.text


PLACED: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "more than a mebibyte": lambda path: path.write_bytes(b" " * (keys.MOST_BYTES + 1)),
    "a link to itself": lambda path: path.symlink_to(path),
}


@pytest.mark.parametrize("place", PLACED.values(), ids=PLACED)
def test_what_is_no_file_of_keys_is_neither_waited_for_nor_read(
    file: Path, place: Callable[[Path], object]
) -> None:
    """Requests wait while it is read; each look leaves no file open."""
    (key,) = made(file, "one")
    clock = Clock()
    known = KeyFile(file, clock)
    file.unlink()
    place(file)
    opened = len(os.listdir("/proc/self/fd"))

    with pytest.raises(Misconfigured, match="no plain file of at most 1,048,576 bytes"):
        keys.read(file)
    for clock.now in (1.0, 2.0):
        assert known.known().holder(key.encode())
    assert len(os.listdir("/proc/self/fd")) == opened


def test_the_file_may_be_a_link(file: Path) -> None:
    """Secrets are mounted so."""
    (key,) = made(file, "one")
    link = file.with_name("link")
    link.symlink_to(file)

    assert KeyFile(link).known().holder(key.encode())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sha256": "MARKER"}, "entry 1, sha256"),
        ({"sha256": "A" * 64}, "entry 1, sha256"),
        ({"name": "MARKER MARKER"}, "entry 1, name"),
        ({"scopes": ["MARKER"]}, "entry 1, scopes"),
        ({"created": "MARKER"}, "entry 1, created"),
        ({"MARKER": 1}, "entry 1: "),
    ],
)
def test_a_wrong_entry_is_refused_by_its_place(file: Path, change: dict[str, object], said: str) -> None:
    """What is wrong may be a key that was pasted there: it is not repeated."""
    _, entry = keys.new("one", ["predict"])
    file.write_text(json.dumps([entry.model_dump(mode="json") | change]))

    with pytest.raises(Misconfigured, match=said) as refused:
        keys.read(file)
    assert "MARKER" not in str(refused.value)


def test_one_hash_has_one_entry(file: Path) -> None:
    """Two entries of a key would leave open which scopes it has."""
    _, entry = keys.new("one", ["predict"])
    keys.write(file, [entry, entry.model_copy(update={"scopes": ("admin",)})])

    with pytest.raises(Misconfigured, match="two entries"):
        keys.read(file)


def test_a_new_key_is_shown_once_and_only_its_hash_is_kept(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file is its owner's alone; the key has 32 random bytes and predicts and evaluates."""
    assert command(file, "new", "laboratory") == 0
    shown = capsys.readouterr().out
    key = shown.strip()

    assert shown == key + "\n"
    assert key.startswith("tms_")
    assert len(key) == len("tms_") + 43
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (entry,) = keys.read(file)
    assert (entry.name, entry.scopes) == ("laboratory", ("predict", "evaluate"))
    assert Known([entry]).holder(key.encode()) == entry


def test_a_key_is_renewed_by_a_second_one_and_ended_by_its_time(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are alive until the old one is revoked; other names, and the file's mode, stay."""
    made(file, "laboratory", "clinic")
    old = keys.read(file)[0].model_copy(update={"created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)})
    keys.write(file, [old, *keys.read(file)[1:]])
    file.chmod(0o640)

    assert command(file, "new", "laboratory", "--scope", "admin") == 0
    assert command(file, "list") == 0
    assert "laboratory 2026-01-02T03:04:05+00:00 predict" in capsys.readouterr().out
    assert command(file, "revoke", "laboratory", "--created", "2026-01-02T03:04:05Z") == 0

    assert [(entry.name, entry.scopes) for entry in keys.read(file)] == [
        ("clinic", ("predict",)),
        ("laboratory", ("admin",)),
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert command(file, "revoke", "laboratory") == 0
    assert [entry.name for entry in keys.read(file)] == ["clinic"]


def test_a_command_that_cannot_be_done_leaves_the_file(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No such name, no file, a broken file, a name with a blank: said on stderr, exit code not 0."""
    made(file, "one")
    before = file.read_bytes()

    assert command(file, "revoke", "another") == 1
    assert command(file.parent / "elsewhere", "list") == 1
    assert run(["key", "list"], Settings()) == 2
    with pytest.raises(SystemExit):
        command(file, "new", "two words")
    assert file.read_bytes() == before
    file.write_text("broken")
    assert command(file, "new", "two") == 1
    assert file.read_text() == "broken"
    assert capsys.readouterr().err.count("error: ") == 5
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]


MAKES_TWENTY = """
import sys
from service.commands import run
from service.settings import Settings
input()
for number in range(20):
    assert run(["key", "new", f"{sys.argv[2]}-{number}", "--file", sys.argv[1]], Settings()) == 0
"""


def test_no_key_is_lost_when_several_are_made_at_once(file: Path) -> None:
    """Nor is one that was revoked meanwhile alive again."""
    run_together(MAKES_TWENTY, *([str(file), name] for name in ("first", "second", "third")))

    assert len(keys.read(file)) == 60
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]


def test_the_file_can_be_named_by_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """API_KEYS_FILE, as the service reads it."""
    monkeypatch.setenv("API_KEYS_FILE", str(file))

    assert run(["key", "new", "one"], Settings()) == 0
    assert keys.read(file)[0].name == "one"
