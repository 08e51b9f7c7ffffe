"""A running process with keys: which ones count while they change, and that none is told."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from keyrings import Keyring

from servers import ROOT, TIMEOUT_S, Server
from service import keys

GATE = {"instances": [{"x1": 1, "x2": 1}]}


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Keyring]]:
    """A real process with keys, of the gate alone, that logs all it can."""
    home = tmp_path_factory.mktemp("process")
    shutil.copytree(ROOT / "artifacts/and_gate", home / "and_gate")
    ring = Keyring(home / "keys.json")
    options = ["--api-keys-file", str(ring.file), "--artifacts", str(home), "--log-level", "debug"]
    options += ["--max-body-bytes", "2000000"]
    with Server(*options) as server:
        yield server, ring


def until(condition: Callable[[], bool]) -> None:
    """Ask until it is so; fail if it is not within many times the poll, as the machine may be busy."""
    ends = time.monotonic() + 10 * keys.POLL_S
    while not condition():
        assert time.monotonic() < ends, "it is not so yet"
        time.sleep(0.02)


def test_a_revoked_key_stops_and_a_new_one_begins_without_a_restart(
    process: tuple[Server, Keyring], tmp_path: Path
) -> None:
    """By the command, beside a running process: the other key of the name answers all the while."""
    server, ring = process
    with httpx.Client(base_url=server.url) as client:

        def status(key: str) -> int:
            return client.post("/models/and_gate/predict", json=GATE, headers={"x-api-key": key}).status_code

        old = command("key", "new", "renewed", "--file", str(ring.file)).stdout.strip()
        until(lambda: status(old) == 200)
        (created,) = [one.created.isoformat() for one in keys.read(ring.file) if one.name == "renewed"]
        until(lambda: time.time() > keys.read(ring.file)[-1].created.timestamp() + 1)
        new = command("key", "new", "renewed", "--file", str(ring.file)).stdout.strip()
        until(lambda: status(new) == 200)
        assert status(old) == 200
        command("key", "revoke", "renewed", "--created", created, "--file", str(ring.file))
        until(lambda: status(old) == 401)
        assert status(new) == 200

        ring.file.write_text("MARKER")
        until(lambda: "the file of keys is wrong" in "".join(server.log) or status(new) != 200)
        assert status(new) == 200
        keys.write(ring.file, ring.entries)
        until(lambda: status(new) == 401)


def test_no_key_is_in_the_log_the_metrics_or_an_answer(process: tuple[Server, Keyring]) -> None:
    """Right or wrong, at debug level, in every place where one can be put; and no hash."""
    server, ring = process
    marker = "tms_MARKERMARKERMARKER"
    texts = []
    with httpx.Client(base_url=server.url) as client:
        for key in (marker, ring.key("predict"), ring.key("reader")):
            for headers in (
                {"authorization": f"Bearer {key}"},
                {"authorization": f"Basic {key}"},
                {"x-api-key": key},
                {"x-api-key": "wrong", "cookie": key, "referer": key},
            ):
                for path in ("predict", "evaluate", f"predict?key={key}", key):
                    answer = client.post(f"/models/and_gate/{path}", json=GATE, headers=headers)
                    texts += [answer.text, str(answer.headers)]
        for path in ("/openapi.json", "/metrics"):
            texts.append(client.get(path, headers=ring.bearer("reader")).text)
    until(lambda: any("GET /metrics 200" in line for line in server.log))
    text = "".join([*texts, *server.log])

    assert 'status="401"' in text
    for secret in (marker, "MARKER", *(ring.key(one.name) for one in ring.entries)):
        assert secret not in text
    for entry in ring.entries:
        assert entry.sha256 not in text
