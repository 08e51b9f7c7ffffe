"""Only plain files of one root are read, whatever somebody put there; and replaced in one step."""

import os
import socket
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from service import files, labels
from service.errors import ArtifactRejected
from service.files import MOST_ENTRIES, names, plain, within
from service.models import MODELS
from service.registry import Registry
from service.servable import SavedModelServable

GATE = MODELS["and_gate"]


def rejecting(folder: Path) -> Any:
    """Load nothing: list it, as is done before anything is read."""
    raise AssertionError(list(names(folder)))


def rejection(folder: Path) -> str:
    """Why this folder is not served."""
    with pytest.raises(ArtifactRejected) as caught:
        SavedModelServable(folder, GATE)
    return str(caught.value)


def listening(path: Path) -> None:
    """Leave a socket; its name may be longer than a path that bind takes."""
    here = Path.cwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path.name)
    os.chdir(here)


PLACED: dict[str, Callable[[Path], None]] = {
    "a FIFO": os.mkfifo,
    "a socket": listening,
    "a link to a file of another place": lambda path: path.symlink_to("/etc/hostname"),
    "a link to a folder of another place": lambda path: path.symlink_to("/etc"),
    "a link to the file beside it": lambda path: path.symlink_to("card.md"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("place", PLACED.values(), ids=PLACED)
@pytest.mark.parametrize("name", ["saved_model.pb", "extra", "variables/extra"])
def test_what_is_no_plain_file_is_rejected_by_name(
    artifact: Path, name: str, place: Callable[[Path], None]
) -> None:
    """In the place of a file or beside it; nothing is followed, and nothing waited for."""
    path = artifact / name
    path.unlink(missing_ok=True)
    place(path)

    assert rejection(artifact) == f"{name} is neither a plain file nor a folder; copy the file itself"


@pytest.mark.parametrize("place", PLACED.values(), ids=PLACED)
def test_a_manifest_or_a_list_of_labels_that_is_no_plain_file_is_not_read(
    tmp_path: Path, artifact: Path, place: Callable[[Path], None]
) -> None:
    """They are read before any other file is looked at: the scan ends, and the reason is known."""
    (artifact / "manifest.json").unlink()
    place(artifact / "manifest.json")
    place(artifact.parent / labels.FILE)
    registry = Registry({"and_gate": GATE})

    registry.scan(tmp_path, SavedModelServable)

    assert registry.rejected["and_gate"] == {int(artifact.name): "manifest.json is no plain file"}
    with pytest.raises(ArtifactRejected, match=r"labels\.json is not a list of labels"):
        labels.read(artifact.parent)


@pytest.mark.parametrize("part", [lambda version: version, lambda version: version.parent])
def test_a_folder_that_leads_out_of_the_root_is_rejected(
    tmp_path: Path, artifact: Path, part: Callable[[Path], Path]
) -> None:
    """Be it the version's or the model's; what lies there may be right as it is."""
    root = tmp_path / "root"
    inside = root / part(artifact).relative_to(tmp_path)
    inside.parent.mkdir(parents=True)
    inside.symlink_to(part(artifact))

    assert "a link that leads out of the artifacts folder" in rejection(root / "and_gate" / artifact.name)


def test_links_within_the_root_and_to_it_are_followed(tmp_path: Path, artifact: Path) -> None:
    """The root may be a link or a mount, and a version may be kept beside its place."""
    artifact.rename(tmp_path / "kept")
    artifact.symlink_to("../kept")
    (tmp_path / "link").symlink_to(tmp_path)

    assert SavedModelServable(tmp_path / "link" / "and_gate" / artifact.name, GATE).version == int(
        artifact.name
    )


def test_a_folder_that_is_a_link_to_itself_is_rejected(tmp_path: Path) -> None:
    """It leads nowhere."""
    (tmp_path / "1").symlink_to("1")

    with pytest.raises((ArtifactRejected, OSError)):
        within(tmp_path, tmp_path / "1")


def test_more_than_a_version_has_is_not_read(tmp_path: Path) -> None:
    """Neither bytes nor entries: somebody's home folder is no version."""
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(ArtifactRejected, match="large has more than 10 bytes"):
        plain(tmp_path / "large", 10)

    for number in range(MOST_ENTRIES):
        (tmp_path / str(number)).mkdir()
    with pytest.raises(ArtifactRejected, match=f"more than {MOST_ENTRIES} files"):
        list(names(tmp_path))


@pytest.mark.parametrize("where", ["", "variables"])
def test_a_folder_is_listed_no_further_than_a_version_goes(tmp_path: Path, where: str) -> None:
    """A list of 20,000 files would take five megabytes, at each look anew."""
    version = tmp_path / "and_gate" / "1"
    (version / where).mkdir(parents=True)
    for number in range(20_000):
        (version / where / str(number)).touch()
    registry = Registry({"and_gate": GATE})
    tracemalloc.start()
    try:
        with pytest.raises(ArtifactRejected, match=f"more than {MOST_ENTRIES} files"):
            list(names(version))
        for _ in range(2):
            registry.scan(tmp_path, lambda folder, _: rejecting(folder))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most < 300_000
    assert registry.rejected == {
        "and_gate": {1: f"it has more than {MOST_ENTRIES} files; export the model again"}
    }


@pytest.mark.parametrize(
    "extra",
    [
        "saved_model.pbtxt",
        "saved_model.cpb",
        "assets/words.txt",
        "assets.extra/library.so",
        "variables/variables.data-00001-of-00002",
        ".hidden",
    ],
)
def test_a_file_that_is_not_listed_is_rejected(artifact: Path, extra: str) -> None:
    """TensorFlow might open it, although no digest is known."""
    (artifact / extra).parent.mkdir(exist_ok=True)
    (artifact / extra).write_text("")

    assert rejection(artifact) == f"{extra} is not in the manifest"


def test_a_folder_that_somebody_keeps_locked_is_not_waited_for_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may read it may lock it."""
    monkeypatch.setattr(files, "PATIENCE_S", 0.0)
    late = pytest.raises(TimeoutError, match="nothing was changed")
    with files.changing(tmp_path), late, files.changing(tmp_path):
        pass
    with files.changing(tmp_path):
        pass


@pytest.mark.parametrize("mode", [0o640, 0o664])
def test_a_file_keeps_its_mode_and_owner_when_it_is_replaced(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "labels.json"
    path.touch()
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 1001, 1002)
    before = path.stat()

    files.replace(path, "{}", 0o600)

    after = path.stat()
    assert path.read_text() == "{}"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert [one.name for one in tmp_path.iterdir()] == ["labels.json"]


@pytest.mark.parametrize(("mode", "replaced"), [(0o644, True), (0o640, False)])
def test_a_file_changes_hands_only_where_everybody_may_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, replaced: bool
) -> None:
    """Else who serves could not read it any more."""

    def denied(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "fchown", denied)
    path = tmp_path / "labels.json"
    path.write_text("before")
    path.chmod(mode)
    with nullcontext() if replaced else pytest.raises(PermissionError):
        files.replace(path, "after", 0o600)

    assert path.read_text() == ("after" if replaced else "before")
    assert [one.name for one in tmp_path.iterdir()] == ["labels.json"]
