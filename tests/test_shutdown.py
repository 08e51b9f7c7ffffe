"""How the service leaves: nothing that it accepted is lost."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from rows import refused
from servers import ROOT, TIMEOUT_S, Server, eventually
from service.limits import Door, Stage
from service.shutdown import Shutdown

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

BODY = json.dumps({"instances": [{"x1": 1, "x2": 1}]}).encode()
PREDICT = "/models/and_gate/predict"


@pytest.fixture
def gate(tmp_path: Path) -> list[str]:
    """The option that serves the gate alone, which starts soonest."""
    shutil.copytree(ROOT / "artifacts" / "and_gate", tmp_path / "and_gate")
    return ["--artifacts", str(tmp_path)]


def post(server: Server) -> httpx.Response:
    return httpx.post(server.url + PREDICT, content=BODY, headers={"content-type": "application/json"})


@contextmanager
def begun(server: Server) -> Iterator[socket.socket]:
    """A request whose head and first byte have been sent."""
    head = (
        f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(BODY)}"
    )
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + BODY[:1])
        stage(server)  # what comes on a later connection is read later
        yield connection


def stage(server: Server) -> int:
    """What a health check is told."""
    return httpx.get(f"{server.url}/health/ready").status_code


def test_at_sigterm_it_is_not_ready_at_once_and_goes_on_answering() -> None:
    """Until the grace is over: whoever sends work here has time to look elsewhere. A second one ends it."""
    with Server("--models", "and_gate", "--drain-grace-s", "600") as server:
        assert (stage(server), "connection" in post(server).headers) == (200, False)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: stage(server) == 503)

        answer = post(server)

        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert httpx.get(f"{server.url}/health/live").status_code == 200
        assert "shutting down" in httpx.get(f"{server.url}/health/ready").json()["detail"]
        assert server.stop(signal.SIGTERM) == 0


def test_it_is_gone_in_time_whatever_the_grace(gate: list[str]) -> None:
    """The time counts from the signal; who is still inside gets 503 before it is over."""
    options = [*gate, "--drain-grace-s", "600", "--shutdown-timeout-s", "3"]
    with Server(*options) as server, begun(server) as connection:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(TIMEOUT_S) == 0
        assert connection.recv(1000).startswith(b"HTTP/1.1 503 ")


def test_what_has_begun_is_finished_and_what_comes_then_is_refused(gate: list[str]) -> None:
    """After the grace new work gets 503 with Retry-After, while there is old work; then it exits with 0."""
    with Server(*gate) as server, begun(server) as connection:
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: post(server).status_code == 503)

        answer = post(server)

        assert answer.headers["retry-after"]
        assert answer.headers["connection"] == "close"
        assert refused(answer, 503)["type"] == "urn:problem:shutting-down"
        connection.sendall(BODY[1:])
        assert b" 200 OK" in connection.recv(1000)
        assert server.process.wait(timeout=60) == 0


def test_what_takes_too_long_does_not_keep_it(gate: list[str]) -> None:
    """A client that never sends the rest of its body; the exit code is 0 all the same."""
    with Server(*gate, "--shutdown-timeout-s", "2") as server, begun(server):
        assert server.stop() == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_waits_for_nobody(gate: list[str], second: signal.Signals) -> None:
    """The operator has lost patience."""
    with Server(*gate, "--shutdown-timeout-s", "600") as server, begun(server):
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: post(server).status_code == 503)

        assert server.stop(second) == 0
    # The log has the request that it did not wait for, and nothing that looks like a fault.
    assert any(f"POST {PREDICT} 503" in line for line in server.log)
    assert "Traceback" not in "".join(server.log)


def test_workers_leave_alike(gate: list[str]) -> None:
    """Each of them finishes what it has begun, and refuses what comes then: none stays that could answer."""
    with Server(*gate, "--drain-grace-s", "1", workers=2) as server, begun(server) as connection:
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: any("closed: 1 requests" in line for line in server.log))
        eventually(lambda: post(server).status_code == 503)
        connection.sendall(BODY[1:])

        assert b" 200 OK" in connection.recv(1000)
        assert server.process.wait(timeout=60) == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("stage", ["Started ", "device: "])
def test_a_start_ends_where_it_is(workers: int, stage: str, how: signal.Signals) -> None:
    """While it imports, and while it loads: the models are not all loaded first. That is no failure."""
    command = [sys.executable, "-m", "service", "--port", "0", "--workers", str(workers)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        begun = [next(line for line in process.stderr if stage in line)]
        process.send_signal(how)
        log = "".join(begun + list(process.stderr))

        assert process.wait(TIMEOUT_S) == 0
    assert "serving wine_grade" not in log
    assert "Traceback" not in log
    assert "ERROR" not in log


async def test_ctrl_c_has_no_grace() -> None:
    """Nobody looks elsewhere for a service that a developer tries out."""
    left = asyncio.Event()
    door = Door()
    Shutdown(door, grace_s=600, timeout_s=600, leave=left.set).begin(signal.SIGINT)

    await asyncio.wait_for(left.wait(), 30)

    assert door.stage == Stage.CLOSED
