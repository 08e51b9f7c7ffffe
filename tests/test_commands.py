"""The operator's commands: what is proven, and which version a label points at."""

import subprocess
import sys
from pathlib import Path

import pytest
from processes import run_together

from mean_servable import MeanServable
from servers import ROOT
from service import labels
from service.commands import run
from service.errors import ArtifactRejected
from service.manifest import digest, document
from service.models import MODELS
from service.settings import Settings
from service.spec import ModelSpec


def arithmetic(folder: Path, spec: ModelSpec) -> MeanServable:
    """Load a version, unless it is empty of what makes it one, or calls itself."""
    if (folder / "calls_itself").exists():
        raise ValueError("There is a cyclic dependency between functions.")
    if not (folder / "saved_model.pb").exists():
        raise ArtifactRejected("manifest.json cannot be read")
    return MeanServable(spec, int(folder.name))


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """Every model in the versions 1, 2, which is damaged, and 3."""
    for name in MODELS:
        for version in "123":
            (tmp_path / name / version).mkdir(parents=True)
            if version != "2":
                (tmp_path / name / version / "saved_model.pb").touch()
    return tmp_path


def command(artifacts: Path, *words: str) -> int:
    return run([words[0], "--artifacts", str(artifacts), *words[1:]], Settings(), arithmetic)


def test_check_names_every_version_and_ends_with_1_if_any_is_rejected(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a deployment can be stopped by it."""
    labels.write(artifacts / "survival", {"stable": 7})

    assert command(artifacts, "check") == 1
    shown = capsys.readouterr().out
    assert "and_gate 2: rejected: manifest.json cannot be read" in shown
    assert "wine_grade 3: proven" in shown
    assert "survival stable -> 7: there is no such version" in shown

    for name in MODELS:
        (artifacts / name / "2").rmdir()
    labels.write(artifacts / "survival", {"stable": 3})

    assert command(artifacts, "check") == 0


def test_a_model_without_a_version_is_not_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty or mistyped folder is no success."""
    assert command(tmp_path, "check") == 1
    assert "survival: there is no version" in capsys.readouterr().out


def test_a_label_is_moved_to_a_proven_version_and_back(artifacts: Path) -> None:
    """Other labels stay; the damaged version between is passed over."""
    home = artifacts / "survival"
    labels.write(home, {"canary": 1})

    assert command(artifacts, "promote", "survival", "3") == 0
    assert labels.read(home) == {"canary": 1, "stable": 3}
    assert command(artifacts, "rollback", "survival") == 0
    assert labels.read(home) == {"canary": 1, "stable": 1}


def test_labels_that_cannot_be_read_are_told_and_mended_by_a_promotion(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rollback would not know from where; `check` counts the fault and goes on to the other models."""
    home = artifacts / "and_gate"
    (home / "labels.json").write_text("{")
    for name in MODELS:
        (artifacts / name / "2").rmdir()

    assert command(artifacts, "check") == 1
    shown = capsys.readouterr().out
    assert "and_gate: rejected: labels.json is not a list of labels" in shown
    assert "wine_grade 3: proven" in shown
    assert command(artifacts, "rollback", "and_gate") == 1
    assert "python -m service promote and_gate VERSION" in capsys.readouterr().err
    assert command(artifacts, "promote", "and_gate", "3") == 0
    assert "other labels of it are gone" in capsys.readouterr().out
    assert labels.read(home) == {"stable": 3}


def test_a_rollback_without_a_label_leaves_the_newest(artifacts: Path) -> None:
    """The newest was answering."""
    assert command(artifacts, "rollback", "survival") == 0
    assert labels.read(artifacts / "survival") == {"stable": 1}


@pytest.mark.parametrize("words", [("promote", "survival", "2"), ("promote", "survival", "9")])
def test_no_label_is_moved_to_what_may_not_be_served(
    artifacts: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is said, and the exit code is 1."""
    assert command(artifacts, *words) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert labels.read(artifacts / "survival") == {}


def test_what_tensorflow_itself_refuses_is_rejected_too(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever it raises: no label moves to it, a rollback passes it over, and no traceback is shown."""
    home = artifacts / "survival"
    (home / "2" / "calls_itself").touch()
    reason = "it could not be loaded (ValueError: There is a cyclic dependency between functions.)"

    assert command(artifacts, "promote", "survival", "2") == 1
    assert capsys.readouterr().err == f"error: {reason}\n"
    assert command(artifacts, "check") == 1
    assert f"survival 2: rejected: {reason}" in capsys.readouterr().out
    labels.write(home, {"stable": 3})
    assert command(artifacts, "rollback", "survival") == 0
    assert f"survival 2: rejected: {reason}" in capsys.readouterr().out
    assert labels.read(home) == {"stable": 1}


def test_the_settings_of_the_service_are_those_of_its_commands(
    artifacts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ARTIFACTS and DEVICE: what is proven is what would be served, on what would serve it."""
    assert run(["promote", "survival", "3"], Settings(artifacts=artifacts), arithmetic) == 0
    assert labels.read(artifacts / "survival") == {"stable": 3}
    assert run(["check"], Settings(artifacts=artifacts, device="gpu")) == 1
    assert "DEVICE=gpu" in capsys.readouterr().err


def test_there_is_nothing_to_go_back_to_from_the_first_version(artifacts: Path) -> None:
    """A rollback never leaves a label that points nowhere."""
    labels.write(artifacts / "survival", {"stable": 1})

    assert command(artifacts, "rollback", "survival") == 1
    assert labels.read(artifacts / "survival") == {"stable": 1}


@pytest.mark.parametrize("label", ["../x", "", "Stable", "a" * 33])
def test_a_label_is_a_plain_word(artifacts: Path, label: str) -> None:
    """It stands in paths."""
    with pytest.raises(SystemExit) as ended:
        command(artifacts, "promote", "survival", "3", "--label", label)
    assert ended.value.code == 2


@pytest.mark.slow
def test_the_committed_artifacts_are_proven() -> None:
    """By the command as it is typed, with TensorFlow."""
    ran = subprocess.run(
        [sys.executable, "-m", "service", "check"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    gate = max((ROOT / "artifacts" / "and_gate").iterdir(), key=lambda path: int(path.name))

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "device: cpu" in ran.stdout
    assert all(f"{name} " in ran.stdout for name in MODELS)
    assert digest(document(gate)) in ran.stdout


def test_what_is_not_trusted_is_not_proven(capsys: pytest.CaptureFixture[str]) -> None:
    """With the service's own setting, and the digest that an operator has to compare before pinning it."""
    settings = Settings(trusted_digests="0" * 64)

    assert run(["check", "--artifacts", str(ROOT / "artifacts")], settings) == 1
    shown = capsys.readouterr().out
    assert f"{digest(document(ROOT / 'artifacts/survival/5'))}, is not among the trusted ones" in shown
    assert "proven" not in shown


PROMOTES = """
import sys
from service.commands import run
from service.settings import Settings
input()
for number in range(20):
    words = ["promote", "survival", "1", "--label", f"{sys.argv[2]}{number}", "--artifacts", sys.argv[1]]
    assert run(words, Settings(), lambda folder, spec: None) == 0
"""


def test_no_label_is_lost_when_several_are_moved_at_once(artifacts: Path) -> None:
    """Two who promote at once are two who promote one after the other."""
    run_together(PROMOTES, *([str(artifacts), name] for name in ("first", "second")))

    assert len(labels.read(artifacts / "survival")) == 40
