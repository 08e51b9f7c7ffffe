"""What happens when the artifacts change under a running service."""

import asyncio
import gc
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from weakref import ref

import httpx
import pytest

from servers import Server, eventually, publish
from service.watch import Watch

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
PATIENCE_S = 30
ROW = {"instances": [{"x1": 1, "x2": 1}]}


def nothing() -> None:
    """What is told, and does nothing."""


@pytest.fixture(params=["polling", "SIGHUP", "POST /admin/reload"])
def way(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def server(tmp_path: Path, way: str) -> Iterator[Server]:
    publish(tmp_path, 1)
    with Server("--artifacts", str(tmp_path), "--model-poll-s", "0.1" if way == "polling" else "0") as server:
        yield server


def test_a_published_version_answers_and_a_damaged_one_does_not(
    server: Server, tmp_path: Path, way: str
) -> None:
    """Each by itself, without a restart; the reason of the damaged one is told, and desired is not served."""

    def look() -> None:
        if way == "SIGHUP":
            server.process.send_signal(signal.SIGHUP)
        elif way != "polling":
            served = httpx.post(f"{server.url}/admin/reload").json()["models"]
            assert served[0] == model()

    def model() -> dict[str, object]:
        return httpx.get(f"{server.url}/models/and_gate").json()

    publish(tmp_path, 2)
    look()
    eventually(lambda: model()["version"] == 2)

    text = "".join(server.log)
    assert text.index("warmed up and_gate version 2") < text.index("and_gate: 2 answers")
    assert httpx.post(f"{server.url}/models/and_gate/predict", json=ROW).json()["version"] == 2
    assert httpx.post(f"{server.url}/models/and_gate/versions/1/predict", json=ROW).json()["version"] == 1

    home = tmp_path / "and_gate"
    # By a rename: the poll may look in the middle of a copy, which is rejected for another reason.
    Path(shutil.copytree(home / "2", home / ".3")).rename(home / "3")
    look()
    eventually(lambda: "3" in model()["rejected"])

    assert model()["rejected"] == {"3": "the manifest is of another version"}
    assert (model()["version"], model()["desired"]) == (2, 3)
    assert any("rejected and_gate version 3" in line for line in server.log)
    page = httpx.get(f"{server.url}/metrics").text
    assert 'model_version_desired{model="and_gate"} 3.0' in page
    assert 'model_version_serving{model="and_gate"} 2.0' in page
    assert 'model_version_serving{model="survival"} 0.0' in page


async def test_a_scan_that_fails_is_said_and_the_next_one_is_made() -> None:
    """A disk that is away for a moment must not end the watch."""
    scans: list[int] = []
    seen = asyncio.Event()

    def scan() -> bool:
        scans.append(1)
        if len(scans) == 1:
            raise OSError("the disk is away")
        return True

    polling = asyncio.create_task(Watch(scan, seen.set).poll(0.001))
    await asyncio.wait_for(seen.wait(), PATIENCE_S)
    polling.cancel()

    assert len(scans) >= 2


async def test_those_who_ask_while_a_scan_runs_share_the_next_one() -> None:
    """A crowd that reloads costs two scans, and each waits for one that began after it had asked."""
    scans: list[int] = []
    begun, may_end = Event(), Event()

    def scan() -> bool:
        scans.append(1)
        begun.set()
        assert may_end.wait(PATIENCE_S)
        return False

    watch = Watch(scan, nothing)
    first = asyncio.create_task(watch.look())
    await asyncio.to_thread(begun.wait, PATIENCE_S)
    crowd = [asyncio.create_task(watch.look()) for _ in range(50)]
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.gather(first, *crowd)

    assert len(scans) == 2


async def test_nobody_is_told_of_a_scan_that_changed_nothing() -> None:
    """Coalescers and metrics follow what is served, and stay while that stays."""
    told: list[str] = []
    changes = iter([False, True, False])
    watch = Watch(lambda: next(changes), lambda: told.append("changed"))
    for expected in ([], ["changed"], ["changed"]):
        await watch.look()
        assert told == expected


async def test_a_retired_version_is_freed_at_the_next_look_and_not_beside_its_successors_first_requests() -> (
    None
):
    """Its objects refer to one another, as those of a graph do, and it was loaded at the start."""

    class Version:
        def __init__(self) -> None:
            self.graph = self

    served: list[Version] = []
    loaded: list[ref[Version]] = []

    def scan() -> bool:
        if len(loaded) < 2:
            served[:] = [Version()]
            loaded.append(ref(served[0]))
            return True
        return False

    watch = Watch(scan, nothing)
    try:
        watch.begin()
        await watch.look()
        assert loaded[0]() is not None
        await watch.look()
    finally:
        gc.unfreeze()

    assert loaded[0]() is None
    assert loaded[1]() is not None
