"""Several workers from outside: how they are replaced, how all of them end, and what a failed start does."""

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from threading import Event

import httpx
import pytest
from keyrings import Keyring

from servers import ROOT, TIMEOUT_S, Server, eventually
from test_shutdown import BODY, PREDICT, begun

pytestmark = pytest.mark.slow

STARTED = "Started server process"
COMPLETE = "Application startup complete"
DRAINING = "draining: "
# The model that starts soonest.
GATE = ("--models", "and_gate")
JSON = {"content-type": "application/json"}


def count(server: Server, text: str) -> int:
    """The lines of the log that have this text."""
    return sum(text in line for line in server.log)


def workers(server: Server) -> list[int]:
    """The processes that have begun to serve, in order."""
    return [int(found[1]) for line in server.log if (found := re.search(rf"{STARTED} \[(\d+)\]", line))]


def ask(server: Server, path: str, body: bytes | None = None) -> tuple[int, str | None]:
    """The status, and what is said of the connection, which is a new one."""
    with closing(HTTPConnection(server.url.removeprefix("http://"), timeout=TIMEOUT_S)) as connection:
        connection.request("POST" if body else "GET", path, body, JSON)
        response = connection.getresponse()
        response.read()
        return response.status, response.headers["connection"]


def test_a_start_that_fails_in_the_workers_ends_the_service(tmp_path: Path) -> None:
    """With the reason, and the exit code that it has with one worker; nobody waits for two minutes."""
    command = [sys.executable, "-m", "service", "--port", "0", "--workers", "2", "--artifacts", str(tmp_path)]
    environment = {**os.environ, "DEVICE": "gpu", "CUDA_VISIBLE_DEVICES": "-1"}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )

    assert ended.returncode == 3
    assert "TensorFlow sees no GPU" in ended.stderr


def test_sigterm_while_a_successor_starts_ends_it_where_it_is() -> None:
    """At SIGHUP the first worker's successor starts; the models are not loaded once more."""
    with Server(*GATE, workers=2) as server:
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: count(server, STARTED) == 3)

        assert server.stop() == 0
    assert count(server, COMPLETE) == 2
    assert count(server, DRAINING) == 2
    assert "Traceback" not in "".join(server.log)


def test_sigterm_while_a_worker_leaves_is_heard_by_the_others() -> None:
    """None is replaced any more, and the one that leaves is not told twice, which would end it at once."""
    with Server(*GATE, "--drain-grace-s", "5", workers=2) as server:
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: count(server, DRAINING) == 1)

        assert server.stop() == 0
    assert count(server, COMPLETE) == 3
    assert count(server, DRAINING) == 3
    assert count(server, "closed: 0 requests") == 3


def test_workers_are_replaced_whatever_ends_them() -> None:
    """By their death, or by SIGHUP; where a successor fails they stay."""
    with Server(*GATE, workers=2) as server:
        first, second = workers(server)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: count(server, COMPLETE) == 3)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: count(server, STARTED) == 4)
        os.kill(workers(server)[-1], signal.SIGKILL)
        eventually(lambda: count(server, "stays") == 1)
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: count(server, "Finished server process") == 2)
        assert httpx.get(f"{server.url}/health/ready").status_code == 200

        assert server.stop() == 0
    assert count(server, f"Finished server process [{second}]") == 1
    assert count(server, COMPLETE) == 5


def test_one_that_fails_to_start_is_tried_again_where_others_serve(ring: Keyring) -> None:
    """A file that is broken for a while ends nobody who has read it before."""
    whole = ring.file.read_text()
    with Server(*GATE, "--api-keys-file", str(ring.file), workers=2) as server:
        ring.file.write_text("broken")
        os.kill(workers(server)[0], signal.SIGKILL)
        eventually(lambda: count(server, "died") >= 2)
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
        ring.file.write_text(whole)
        eventually(lambda: count(server, COMPLETE) == 3)

        assert server.stop() == 0


def test_one_that_is_to_leave_leaves_with_all() -> None:
    """At SIGTTOU, with SIGTERM right behind it, or while another is replaced: none is forgotten."""
    for before in ((), (signal.SIGHUP,)):
        with Server(*GATE, workers=2) as server:
            for number in (*before, signal.SIGTTOU, signal.SIGTERM):
                server.process.send_signal(number)

            assert server.process.wait(TIMEOUT_S) == 0
            eventually(server.is_silent)


def test_more_and_fewer_workers() -> None:
    """At SIGTTIN one more serves, at SIGTTOU one less; the last one stays."""
    with Server(*GATE, workers=2) as server:
        server.process.send_signal(signal.SIGTTIN)
        eventually(lambda: count(server, COMPLETE) == 3)
        for left in (1, 2):
            server.process.send_signal(signal.SIGTTOU)
            eventually(lambda left=left: count(server, "Finished server process") == left)
        server.process.send_signal(signal.SIGTTOU)
        assert httpx.get(f"{server.url}/health/ready").status_code == 200

        assert server.stop() == 0
    assert count(server, DRAINING) == 3


def test_sigterm_to_all_of_the_group_finishes_what_has_begun() -> None:
    """As systemd stops a service: a worker hears it from two sides, and that is no second signal."""
    with Server(*GATE, "--drain-grace-s", "1", workers=2) as server, begun(server) as connection:
        for process in (*workers(server), server.process.pid):
            os.kill(process, signal.SIGTERM)
        eventually(lambda: count(server, DRAINING) == 2)
        eventually(lambda: count(server, "closed: ") == 2)
        connection.sendall(BODY[1:])

        assert b" 200 OK" in connection.recv(1000)
        assert server.process.wait(TIMEOUT_S) == 0


def test_two_signals_at_once_wait_for_nobody() -> None:
    """Within one turn of the supervisor's loop as well."""
    with Server(*GATE, "--drain-grace-s", "600", workers=2) as server:
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)

        assert server.process.wait(TIMEOUT_S) == 0


def test_orphans_count_what_they_had_not_counted_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folder of their metrics is there until the last of them has left."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Server(*GATE, "--drain-grace-s", "2", workers=2) as server:
        server.process.kill()
        eventually(lambda: count(server, DRAINING) == 2)
        answers = [ask(server, path)[0] for path in ("/health/live", "/metrics") * 10]

        assert set(answers) == {200}
        eventually(server.is_silent)
    assert not list(tmp_path.glob("metrics-*"))
    assert "Traceback" not in "".join(server.log)


def test_workers_whose_parent_was_killed_leave_as_at_sigterm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What has begun is finished, one that still starts ends too, and the folder of their metrics is gone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Server(*GATE, workers=2) as server, begun(server) as connection:
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: count(server, STARTED) == 3)
        (folder,) = tmp_path.glob("metrics-*")
        server.process.kill()
        eventually(lambda: count(server, "closed: 1 requests") == 1)
        connection.sendall(BODY[1:])

        assert b" 200 OK" in connection.recv(1000)
        eventually(server.is_silent)
    assert count(server, COMPLETE) == 2
    assert count(server, "stopped while starting") == 1
    assert not folder.exists()
    assert "Traceback" not in "".join(server.log)


def test_while_a_worker_leaves_new_connections_are_the_others() -> None:
    """No answer closes its connection, as the leaving one's would, and nobody is told that it is not ready.

    A second SIGTERM ends all at once, as with one worker.
    """
    with Server(*GATE, "--drain-grace-s", "600", workers=2) as server:
        os.kill(workers(server)[0], signal.SIGTERM)
        eventually(lambda: count(server, DRAINING) == 1)
        answers = [ask(server, path) for path in ("/health/ready", "/health/live") * 100]

        assert set(answers) == {(200, None)}
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: count(server, DRAINING) == 2)
        assert server.stop() == 0


def test_no_request_fails_while_workers_are_replaced() -> None:
    """Neither on a connection of its own nor on one that stays."""
    done = Event()
    pause = partial(done.wait, 0.01)

    def alone() -> list[int]:
        return [ask(server, PREDICT, BODY)[0] for _ in iter(pause, True)]

    def on_one_connection() -> list[int]:
        with httpx.Client(base_url=server.url, headers=JSON) as client:
            return [client.post(PREDICT, content=BODY).status_code for _ in iter(pause, True)]

    with Server(*GATE, "--drain-grace-s", "1", workers=2) as server, ThreadPoolExecutor() as pool:
        asking = [pool.submit(way) for way in (alone, on_one_connection)]
        try:
            server.process.send_signal(signal.SIGHUP)
            eventually(lambda: count(server, "Finished server process") == 2)
        finally:
            done.set()
        answers = [status for asked in asking for status in asked.result()]
        assert server.stop() == 0

    assert len(answers) > 300
    assert set(answers) == {200}
