"""Ways to the service: the app in process, a real process on a real socket, a start that ends at once."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread

import httpx
import pytest

from service.__main__ import _check, _settings
from service.app import Service
from service.manifest import Manifest

ROOT = Path(__file__).parent.parent
TIMEOUT_S = 60


@asynccontextmanager
async def client_of(app: Service) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app in process; the app answers its own bugs, so they must not reach the client."""
    async with app.api.router.lifespan_context(app.api):
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            yield client


def eventually(fact: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + TIMEOUT_S
    while not fact():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def publish(artifacts: Path, version: int) -> Path:
    """Publish the committed gate once more, as this version, as training does: whole, by a rename."""
    newest = max((ROOT / "artifacts" / "and_gate").iterdir(), key=lambda path: int(path.name))
    home = artifacts / "and_gate"
    partial = shutil.copytree(newest, home / f".{version}")
    Manifest.read(partial).model_copy(update={"version": version}).write(partial)
    return partial.rename(home / str(version))


class Server:
    """`python -m service` on a free port of loopback, with its log; it ends with its `with` block."""

    def __init__(self, *arguments: str, workers: int = 1) -> None:
        command = [
            sys.executable,
            "-m",
            "service",
            "--port",
            "0",
            "--workers",
            str(workers),
            "--log-level",
            "info",
        ]
        command += arguments
        # Nobody looks elsewhere for another service; who tests that says so. What TensorFlow is told is the
        # service's to say, whatever was said in this process.
        environment = {"DRAIN_GRACE_S": "0", **os.environ}
        for told in ("TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL", "TF_NUM_INTRAOP_THREADS"):
            environment.pop(told, None)
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)
        self.log: list[str] = []
        self.url = self._await_start(workers)
        # A pipe that nobody empties would stop the service.
        self._rest = Thread(target=self.log.extend, args=[self.process.stderr], daemon=True)
        self._rest.start()

    def _await_start(self, workers: int) -> str:
        """Read the log until every worker has loaded; return the address."""
        for line in self.process.stderr or ():
            self.log.append(line)
            text = "".join(self.log)
            found = re.search(r"https?://127\.0\.0\.1:\d+", text)
            if found and text.count("Application startup complete") == workers:
                return found[0]
        raise AssertionError("the service ended: " + "".join(self.log))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, and return the exit code."""
        self.process.send_signal(how)
        code = self.process.wait(timeout=TIMEOUT_S)
        self._rest.join()
        return code

    def is_silent(self) -> bool:
        """Whether every process that could write to the log has ended."""
        return not self._rest.is_alive()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._rest.join()
        if self.process.stderr:
            self.process.stderr.close()


def refusal(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The one line that a start with these options ends with, and with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        _check(_settings(options))
    line = capsys.readouterr().err

    assert ended.value.code == 2
    assert line.startswith("error: ")
    assert line.count("\n") == 1
    return line
