"""What the benchmarks refuse to do, so that no figure is of something else."""

import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from benchmarks import overload
from benchmarks.load import rates
from benchmarks.process import Server


class Answering(BaseHTTPRequestHandler):
    """Answers everything with 200, as what was left running from another benchmark would."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def left_running() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_a_server_that_answers_already_is_not_measured(left_running: str, tmp_path: Path) -> None:
    """Its requests would be counted for the one that cannot have the port."""
    with pytest.raises(SystemExit, match="end that first"):
        Server(["http.server", "--help"], left_running, [0], {}, tmp_path / "log")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("turns", ["0", "-1", "many"])
def test_overload_without_a_turn_is_refused(
    turns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A median of none is no figure: said at once, before a server starts."""
    monkeypatch.setattr(sys, "argv", ["overload", "--turns", turns])
    monkeypatch.setattr(overload, "measure", lambda *_: pytest.fail("it would be measured"))

    with pytest.raises(SystemExit, match="2"):
        overload.main()

    assert "argument --turns: invalid positive value" in capsys.readouterr().err


def test_a_turn_counts_what_was_answered_until_its_last_answer() -> None:
    shown = "status 200 300\nturn 1 100 0.2\nturn 0 200 0.25\nlate 0\n"

    assert rates(shown, 2).tolist() == [800, 500]


@pytest.mark.parametrize(
    "shown",
    ["turn 0 200 0.25\nturn 1 100 0.2\nlate 3\n", "turn 0 200 0.25\nlate 0\n"],
    ids=["late", "unanswered"],
)
def test_turns_that_meet_one_another_are_no_figure(shown: str) -> None:
    """What one server still computes would be counted as the other's slowness."""
    with pytest.raises(SystemExit, match="take fewer rows or clients"):
        rates(shown, 2)
