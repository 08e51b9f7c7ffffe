"""The scripts that people and CI run: help, and what they say when a machine lacks something."""

import shutil
import subprocess
from pathlib import Path

import pytest

from servers import ROOT

SCRIPTS = ["bench", "check", "clients-test", "container-test", "lock", "serve", "soak", "test", "train"]


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("script", ["check", "clients-test", "container-test", "lock", "test", "train"])
def test_help_shows_what_a_script_does_with_an_example(script: str) -> None:
    """Asking a script for help must not start what it does; serve and bench pass --help on."""
    shown = run(str(ROOT / "scripts" / script), "--help", PATH="/usr/bin:/bin")

    assert shown.returncode == 0
    assert f"scripts/{script}" in shown.stdout
    assert not shown.stderr


def test_every_script_is_listed_here() -> None:
    """A new script is tested by being added; `venv` is sourced by the others."""
    assert sorted(path.name for path in (ROOT / "scripts").iterdir()) == sorted([*SCRIPTS, "venv"])


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_plain_sh_and_stops_at_the_first_failure(script: str) -> None:
    """No bash is needed on a clinic's machine."""
    path = ROOT / "scripts" / script
    lines = path.read_text(encoding="utf-8").splitlines()

    assert lines[0] == "#!/bin/sh"
    assert "set -eu" in lines
    assert run("sh", "-n", str(path)).returncode == 0


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A clone with the scripts and the lock files only, and no environment."""
    for folder in ("scripts", "requirements"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def tools(folder: Path, **scripts: str) -> str:
    """A PATH with the shell's own tools and these commands, and no other Python."""
    binaries = folder / "bin"
    binaries.mkdir()
    for tool in ("sh", "basename", "cat", "cmp", "cp", "dirname", "rm", "sed"):
        (binaries / tool).symlink_to(shutil.which(tool) or tool)
    for name, text in scripts.items():
        (binaries / name).write_text(f"#!/bin/sh\n{text}\n")
        (binaries / name).chmod(0o755)
    return str(binaries)


def test_a_machine_without_python_is_told_so(bare: Path) -> None:
    """One sentence and exit code 1, not silence."""
    ended = run(str(bare / "scripts/serve"), PATH=tools(bare))

    assert ended.returncode == 1
    assert "Python 3.11 or newer is needed, found: none" in ended.stderr


def test_an_environment_that_cannot_be_made_is_not_left_half_made(bare: Path) -> None:
    """Debian's Python without python3-venv: the next run must not trip over the remains."""
    path = tools(bare, python3='[ "$1" = -c ] && exit 0; mkdir -p .venv/bin 2>/dev/null; exit 1')
    ended = run(str(bare / "scripts/serve"), PATH=path)

    assert ended.returncode == 1
    assert "python3-venv" in ended.stderr
    assert not (bare / ".venv").exists()
