"""Which versions are served, and what keeps the others out."""

import json
import shutil
from pathlib import Path

import pytest

from mean_servable import MeanServable
from service.errors import NotReady, UnknownModel, UnknownVersion
from service.manifest import Manifest
from service.models import MODELS
from service.registry import Registry
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
