"""Whom a worker tells to look at the artifacts: those that live, and nobody else."""

import os
import subprocess
from pathlib import Path

import pytest

from service.telemetry import SHARED
from service.workers import enlisted, tell_others


def test_a_process_that_has_the_number_of_a_dead_worker_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is nobody's; SIGHUP would end whoever has the number now."""
    monkeypatch.setenv(SHARED, str(tmp_path))
    with subprocess.Popen(["sleep", "60"]) as stranger:
        file = tmp_path / f"{stranger.pid}.worker"
        file.touch()
        tell_others()
        alive = stranger.poll() is None
        stranger.terminate()
        ended = stranger.wait()

    assert alive
    assert ended == -15, "by the test, not by SIGHUP"
    assert not file.exists()


def test_who_leaves_is_enlisted_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARED, str(tmp_path))
    with enlisted():
        assert [path.name for path in tmp_path.iterdir()] == [f"{os.getpid()}.worker"]
        tell_others()  # not itself
    assert list(tmp_path.iterdir()) == []
