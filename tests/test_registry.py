"""Which versions are served, and what keeps the others out."""

import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from folders import arithmetic, publish
from mean_servable import MeanServable
from service import labels
from service.errors import NotReady, UnknownModel, UnknownVersion
from service.manifest import Manifest
from service.models import MODELS
from service.registry import MOST_VERSIONS, Registry
from service.servable import SavedModelServable
from service.spec import ModelSpec

GATE = MODELS["and_gate"]


def test_the_newest_version_answers_unless_one_is_named() -> None:
    """Versions are numbers: 10 is newer than 9."""
    registry = Registry({"and_gate": GATE})
    for version in (2, 10, 9):
        registry.add(MeanServable(GATE, version))

    assert registry.servable("and_gate").version == 10
    assert registry.servable("and_gate", 2).version == 2
    assert list(registry.versions("and_gate")) == [10, 9, 2]


def test_what_is_not_served_is_told_apart() -> None:
    """No such model, no such version, and no version at all are three different answers."""
    registry = Registry({"and_gate": GATE, "survival": MODELS["survival"]})
    registry.add(MeanServable(GATE))

    with pytest.raises(UnknownModel, match="and_gate, survival"):
        registry.servable("horse")
    with pytest.raises(UnknownVersion, match="Served are: 1"):
        registry.servable("and_gate", 7)
    with pytest.raises(NotReady, match="survival"):
        registry.servable("survival")
    assert registry.reasons() == {"survival": "there is no version of it in the artifacts folder"}
    assert not registry.ready


def test_a_folder_that_does_not_exist_has_no_versions(tmp_path: Path) -> None:
    """A mistyped folder is no error of the scan; the service says that it is not ready, and why."""
    registry = Registry({"and_gate": GATE})

    registry.scan(tmp_path / "nowhere", SavedModelServable)

    assert not registry.ready


def test_a_rejected_version_stays_out_and_the_others_answer(tmp_path: Path, artifact: Path) -> None:
    """The scan goes on; the reason is kept for /health/ready and /models."""
    broken = Path(shutil.copytree(artifact, artifact.with_name("99")))
    json_path = broken / "manifest.json"
    json_path.write_text(json.dumps(json.loads(json_path.read_text()) | {"version": 99, "threshold": 0.9}))
    registry = Registry({"and_gate": GATE})

    registry.scan(tmp_path, SavedModelServable)

    assert list(registry.versions("and_gate")) == [int(artifact.name)]
    assert registry.rejected["and_gate"] == {99: "threshold is 0.9, the declaration has 0.5"}
    assert registry.ready


def test_whatever_a_version_breaks_by_stays_out_with_it(tmp_path: Path, artifact: Path) -> None:
    """A version that fails in a way that nobody thought of must not take the service down."""
    shutil.copytree(artifact, artifact.with_name("99"))

    def load_first_only(folder: Path, spec: ModelSpec) -> SavedModelServable:
        if folder.name == "99":
            raise KeyError("nobody thought of this")
        return SavedModelServable(folder, spec)

    registry = Registry({"and_gate": GATE})
    registry.scan(tmp_path, load_first_only)

    assert list(registry.versions("and_gate")) == [int(artifact.name)]
    assert "KeyError" in registry.rejected["and_gate"][99]


def test_a_version_may_be_numbered_by_time_but_not_with_a_leading_zero(
    tmp_path: Path, artifact: Path
) -> None:
    """TensorFlow Serving's 1732377600 is a version; 01 would be a second 1, and 0 is none."""
    for name in ("01", "0", "1732377600"):
        shutil.copytree(artifact, artifact.with_name(name))
        manifest = Manifest.read(artifact.with_name(name))
        manifest.model_copy(update={"version": int(name)}).write(artifact.with_name(name))
    registry = Registry({"and_gate": GATE})

    registry.scan(tmp_path, SavedModelServable)

    assert list(registry.versions("and_gate")) == [1732377600, int(artifact.name)]


def test_a_temporary_folder_of_an_export_is_not_a_version(tmp_path: Path, artifact: Path) -> None:
    """Only folders with a plain whole number for a name are looked at."""
    shutil.copytree(artifact, artifact.with_name(".2-tmp"))
    shutil.copytree(artifact, artifact.with_name("two"))
    registry = Registry({"and_gate": GATE})

    registry.scan(tmp_path, SavedModelServable)

    assert list(registry.versions("and_gate")) == [int(artifact.name)]
    assert registry.rejected == {"and_gate": {}}


def test_a_request_keeps_the_version_that_it_found(tmp_path: Path, home: Path, gates: Registry) -> None:
    """What is served is replaced as a whole; what was taken before stays as it is."""
    publish(home, 1)
    gates.scan(tmp_path, arithmetic)
    before = gates.served("and_gate")
    publish(home, 2, 3)
    gates.scan(tmp_path, arithmetic)

    assert list(before.versions) == [1]
    assert list(gates.versions("and_gate")) == [3, 2]


def test_a_rejected_version_is_tried_again_only_when_its_folder_has_changed(
    tmp_path: Path, home: Path, gates: Registry
) -> None:
    """A version that is still being copied is rejected until it is whole, and the old one answers."""
    publish(home, 1, 2)
    (home / "2" / "broken").write_text("half a version")
    tried: list[str] = []

    def load(folder: Path, spec: ModelSpec) -> MeanServable:
        tried.append(folder.name)
        return arithmetic(folder, spec)

    for _ in range(3):
        gates.scan(tmp_path, load)

    assert tried == ["2", "1"]
    assert gates.rejected == {"and_gate": {2: "half a version"}}
    assert (gates.servable("and_gate").version, gates.served("and_gate").desired) == (1, 2)

    (home / "2" / "broken").unlink()
    gates.scan(tmp_path, load)

    assert gates.servable("and_gate").version == 2
    assert gates.rejected == {"and_gate": {}}


def test_a_version_that_the_system_kept_from_being_read_is_tried_again(
    tmp_path: Path, home: Path, gates: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing in the folder need change when the disk or a limit was at fault; it is said once."""
    publish(home, 1)
    tried: list[str] = []

    def load(folder: Path, spec: ModelSpec) -> MeanServable:
        tried.append(folder.name)
        if len(tried) < 3:
            raise OSError(24, "Too many open files")
        return arithmetic(folder, spec)

    gates.scan(tmp_path, load)
    gates.scan(tmp_path, load)

    assert gates.rejected == {"and_gate": {1: "it could not be read (Too many open files)"}}
    assert caplog.text.count("rejected and_gate version 1") == 1

    gates.scan(tmp_path, load)

    assert gates.servable("and_gate").version == 1


def test_a_folder_that_may_not_be_listed_keeps_no_other_model_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Root may list everything: then the scan is somebody else's, as in the container."""
    registry = Registry({"and_gate": GATE, "survival": MODELS["survival"]})
    user = os.geteuid()
    with TemporaryDirectory() as folder:
        root = Path(folder)
        publish(root / "and_gate", 1)
        publish(root / "survival", 1)
        root.chmod(0o755)
        (root / "and_gate").chmod(0)
        try:
            os.seteuid(user or 65534)
            registry.scan(root, arithmetic)
        finally:
            os.seteuid(user)
            (root / "and_gate").chmod(0o755)

    assert registry.servable("survival").version == 1
    assert "and_gate: its folder cannot be read: Permission denied" in caplog.text


def test_a_folder_of_more_than_versions_changes_nothing(
    tmp_path: Path, home: Path, gates: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody unpacked something else there: what is served goes on, and the log says why."""
    publish(home, 1)
    gates.scan(tmp_path, arithmetic)
    publish(home, 2)
    for number in range(MOST_VERSIONS):
        (home / f"{number}.txt").touch()

    gates.scan(tmp_path, arithmetic)

    assert list(gates.versions("and_gate")) == [1]
    assert "and_gate: its folder cannot be read: there is more in it than 10,000 versions" in caplog.text


def test_a_link_to_itself_in_a_rejected_folder_ends_no_scan(
    tmp_path: Path, home: Path, gates: Registry
) -> None:
    """What a folder looks like is told without following what lies in it."""
    publish(home, 1, 2)
    (home / "2" / "broken").write_text("no")
    (home / "2" / "loop").symlink_to("loop")

    gates.scan(tmp_path, arithmetic)
    gates.scan(tmp_path, arithmetic)

    assert gates.servable("and_gate").version == 1


def test_older_versions_answer_for_as_many_newer_ones_as_are_rejected(
    tmp_path: Path, home: Path, gates: Registry
) -> None:
    """Two versions are served whatever lies above them."""
    publish(home, 1, 2, 3, 4)
    for version in "34":
        (home / version / "broken").write_text("no")
    gates.scan(tmp_path, arithmetic)

    assert list(gates.versions("and_gate")) == [2, 1]


def test_the_last_version_goes_on_answering_when_its_folder_is_gone(
    tmp_path: Path, home: Path, gates: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    """An emptied volume takes no service down that was ready, nor moves a label; it is said once.

    That nothing is desired is told from what is served.
    """
    publish(home, 1, 2)
    labels.write(home, {"stable": 1})
    gates.scan(tmp_path, arithmetic)
    shutil.rmtree(home)
    for _ in range(2):
        gates.scan(tmp_path, arithmetic)

    assert gates.ready
    assert gates.servable("and_gate").version == gates.servable("and_gate", "stable").version == 1
    assert gates.served("and_gate").desired is None
    assert caplog.text.count("what was served goes on") == 1


def test_where_nothing_in_the_folder_can_be_served_that_is_told(
    tmp_path: Path, home: Path, gates: Registry
) -> None:
    """What was served goes on, and another version is desired: an alert can tell."""
    publish(home, 1, 2)
    gates.scan(tmp_path, arithmetic)
    for version in "12":
        (home / version).rmdir()
    publish(home, 7)
    (home / "7" / "broken").write_text("a flipped byte")

    assert gates.scan(tmp_path, arithmetic)
    assert gates.servable("and_gate").version == 2
    assert gates.served("and_gate").desired == 7
    assert gates.rejected["and_gate"] == {7: "a flipped byte"}


@pytest.mark.parametrize("kind", ["a file", "a link to nothing", "a link to itself"])
def test_what_is_named_as_a_version_and_is_none_is_told(
    tmp_path: Path, home: Path, gates: Registry, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not passed over: somebody meant it to be served."""
    publish(home, 1)
    odd = home / "2"
    if kind == "a file":
        odd.touch()
    else:
        odd.symlink_to(odd if kind == "a link to itself" else tmp_path / "nowhere")

    for _ in range(2):
        gates.scan(tmp_path, arithmetic)

    assert caplog.text.count("it is no folder") == 1, "it is said once"
    assert gates.rejected["and_gate"][2] == "it is no folder; put the version's folder there"
    assert gates.served("and_gate").desired == 1

    odd.unlink()
    publish(home, 2)
    (home / "2" / "broken").write_text("a flipped byte")
    gates.scan(tmp_path, arithmetic)

    assert gates.rejected["and_gate"] == {2: "a flipped byte"}


def test_a_served_version_whose_folder_became_a_dead_link_is_retired(
    tmp_path: Path, home: Path, gates: Registry
) -> None:
    """As one whose folder is gone is."""
    publish(home, 3, 4)
    gates.scan(tmp_path, arithmetic)
    (home / "4").rmdir()
    (home / "4").symlink_to(tmp_path / "unmounted")
    gates.scan(tmp_path, arithmetic)

    assert list(gates.versions("and_gate")) == [3]
    assert gates.rejected["and_gate"].keys() == {4}
