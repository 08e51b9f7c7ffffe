"""What the benchmarks refuse to do, so that no figure is of something else."""

import shutil
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from benchmarks import overload
from benchmarks.load import Load, rates, run_in_turns
from benchmarks.process import Server

# What wrk's script prints whatever came of it.
SHOWN = "seconds 1\nbroken 0\np50 1\np99 1\np99.9 1\n"


class Answering(BaseHTTPRequestHandler):
    """Answers everything with 200, as what was left running from another benchmark would."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def left_running() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
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
    shown = SHOWN + "status 200 400\nturn 1 100 0.2\nturn 0 200 0.25\nlate 0\nsent 400\n"

    assert rates(shown, 2).tolist() == [800, 500]


@pytest.mark.parametrize(
    "shown",
    [
        "status 200 300\nturn 0 200 0.25\nturn 1 100 0.2\nlate 3\nsent 300\n",
        "status 200 200\nturn 0 200 0.25\nlate 0\nsent 200\n",
        "status 200 300\nturn 0 200 0.25\nturn 1 100 0.2\nlate 0\nsent 301\n",
    ],
    ids=["late", "a turn", "an answer"],
)
def test_turns_that_meet_one_another_are_no_figure(shown: str) -> None:
    """What one server still computes would be counted as the other's slowness."""
    with pytest.raises(SystemExit, match="take longer turns, fewer rows or fewer clients"):
        rates(SHOWN + shown, 2)


def test_turns_in_which_connections_would_be_closed_are_refused() -> None:
    load = Load("http://127.0.0.1:9/", b"", "text/plain", lambda answer: None)

    with pytest.raises(SystemExit, match="4 loads in turns of 2 s are silent for too long"):
        run_in_turns([(load, 1)] * 4, 1, core=0, turn_s=2)


@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed")
def test_loads_take_turns(left_running: str) -> None:
    """Each is answered in all of its own, and none sends in another's."""
    load = Load(left_running, b"", "text/plain", lambda answer: None)
    found = run_in_turns([(load, 1), (load, 2)], 2, core=0, turn_s=0.4)

    for result, per_second in found:
        assert result.refused == 0
        assert len(per_second) == 2
        assert (per_second > 0).all()
