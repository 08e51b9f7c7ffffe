"""Bad days of publishing: whatever lies in the folder, the old version answers, and the reason is told.

One service process looks at a folder in which one thing after another goes wrong, while a client asks it
without a pause. Each day ends with the right version being served.
"""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest
import tensorflow as tf

from servers import ROOT, Server
from service.manifest import Manifest, digest, digests, document
from test_watch import ROW, eventually, publish

pytestmark = pytest.mark.slow

Damage = Callable[[Path], None]


class Client(Thread):
    """Asks the gate for an answer, again and again; `versions` are those of the answers, in order."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url = f"{url}/models/and_gate/predict"
        self._over = Event()
        self.versions: list[int | str] = []

    def run(self) -> None:
        with httpx.Client() as client:
            while not self._over.wait(0.02):
                answer = client.post(self._url, json=ROW)
                good = answer.status_code == 200
                self.versions.append(answer.json()["version"] if good else answer.text)

    def answered(self, times: int = 5) -> None:
        """Wait until so many more requests were answered."""
        enough = len(self.versions) + times
        eventually(lambda: len(self.versions) >= enough)

    def stop(self) -> None:
        self._over.set()
        self.join()


class Days:
    """The service, its folder and its client; the gate has a new version on each day."""

    def __init__(self, root: Path, server: Server) -> None:
        self.root = root
        self.home = root / "and_gate"
        self.client = Client(server.url)
        self.client.start()
        self._server = server
        self.version = 1

    def model(self) -> dict[str, Any]:
        return httpx.get(f"{self._server.url}/models/and_gate").json()

    def refused(self, reason: str) -> None:
        """Wait until the next version is refused for this; the old one answered throughout, and answers."""
        began = len(self.client.versions)
        following = str(self.version + 1)
        eventually(lambda: reason in self.model()["rejected"].get(following, ""))
        self.client.answered()
        model = self.model()
        assert (model["version"], model["desired"]) == (self.version, self.version + 1)
        assert set(self.client.versions[began:]) == {self.version}

    def served(self) -> None:
        """Wait until the next version answers; no request on the way got anything but an answer."""
        began = len(self.client.versions)
        eventually(lambda: self.model()["version"] == self.version + 1)
        self.client.answered()
        assert set(self.client.versions[began:]) <= {self.version, self.version + 1}
        assert self.client.versions[-1] == self.version + 1
        assert self.model()["rejected"] == {}
        self.version += 1


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Days]:
    root = tmp_path_factory.mktemp("artifacts")
    publish(root, 1)
    with Server("--artifacts", str(root), "--model-poll-s", "0.1") as server:
        days = Days(root, server)
        yield days
        days.client.stop()


def relisted(folder: Path, **change: Any) -> None:
    """Write the manifest anew with these fields, and with right digests."""
    manifest = Manifest.read(folder).model_copy(update={**change, "files": digests(folder)})
    manifest.write(folder)


def truncate(folder: Path) -> None:
    os.truncate(folder / "variables/variables.data-00000-of-00001", 100)


def flip(folder: Path) -> None:
    graph = folder / "saved_model.pb"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)


def widen(folder: Path) -> None:
    """Another signature: three columns, where the gate has two."""

    class Wide(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")])
        def predict(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probability": x[:, 0], "distance_percentile": x[:, 1]}

    wide = Wide()
    tf.saved_model.save(wide, str(folder), {"serving_default": wide.predict, "explain": wide.predict})
    relisted(folder)


def write_a_file(folder: Path) -> None:
    """A graph that writes a file when it is asked for an answer."""

    class Writer(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
        def predict(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            with tf.control_dependencies([tf.io.write_file(str(folder / "written"), "by a graph")]):
                return {"probability": x[:, 0], "distance_percentile": x[:, 1]}

    writer = Writer()
    tf.saved_model.save(writer, str(folder), {"serving_default": writer.predict, "explain": writer.predict})
    relisted(folder)


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def replace_by(path: str, place: Callable[[Path], None]) -> Damage:
    def damage(folder: Path) -> None:
        (folder / path).unlink()
        place(folder / path)

    return damage


def lead_out(folder: Path) -> None:
    """The whole version is a link to one that would be right."""
    folder.symlink_to(folder.rename(folder.with_name("outside")))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "a truncated file": (truncate, "variables/variables.data-00000-of-00001 was changed after export"),
    "a flipped byte": (flip, "saved_model.pb was changed after export"),
    "a wrong signature": (widen, "signature `serving_default` takes"),
    "swapped columns": (
        lambda folder: relisted(folder, features=Manifest.read(folder).features[::-1]),
        "column 1 is `x2`, the declaration has `x1`; column 2 is `x1`, the declaration has `x2`",
    ),
    "a manifest of another model": (
        lambda folder: shutil.copy(ROOT / "artifacts/survival/5/manifest.json", folder),
        "model is survival, the declaration has and_gate",
    ),
    "a manifest that leads out": (
        lambda folder: (folder / "manifest.json").write_text(
            (folder / "manifest.json").read_text().replace('"card.md"', '"../card.md"')
        ),
        "(1 faults, the first in files.../card.md.[key])",
    ),
    "an empty folder": (empty, "manifest.json cannot be read: No such file or directory"),
    "a link out of the root": (
        replace_by("card.md", lambda path: path.symlink_to("/etc/hostname")),
        "card.md is neither a plain file nor a folder",
    ),
    "a version that is a link out of the root": (lead_out, "leads out of the artifacts folder"),
    "a FIFO": (replace_by("card.md", os.mkfifo), "card.md is neither a plain file nor a folder"),
    "a FIFO for a manifest": (replace_by("manifest.json", os.mkfifo), "manifest.json is no plain file"),
    "a file that nobody listed": (
        lambda folder: (folder / "saved_model.pbtxt").write_text("meta_graphs {}"),
        "saved_model.pbtxt is not in the manifest",
    ),
    "a graph that writes files": (write_a_file, "saved_model.pb has the operation WriteFile"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_the_old_version_answers_beside_a_damaged_one_and_the_mended_one_then(
    days: Days, tmp_path: Path, damage: Damage, reason: str
) -> None:
    """The reason is in GET /models; when the right version takes the damaged one's place, it is served."""
    made = publish(tmp_path, days.version + 1)
    damage(made)
    place = made.rename(days.home / made.name)

    days.refused(reason)
    assert not (place / "written").exists()

    place.unlink() if place.is_symlink() else shutil.rmtree(place)
    publish(days.root, days.version + 1)
    days.served()


def test_a_version_that_is_removed_again_is_forgotten(days: Days) -> None:
    """What is wanted is then what is served."""
    (days.home / str(days.version + 1)).mkdir()
    days.refused("manifest.json cannot be read")
    (days.home / str(days.version + 1)).rmdir()

    eventually(lambda: days.model()["desired"] == days.version)
    assert days.model()["rejected"] == {}


def test_a_version_whose_copying_goes_on_is_served_when_it_has_ended(days: Days, tmp_path: Path) -> None:
    """A copy that is no rename: file after file, the manifest last, one file in two halves."""
    whole = publish(tmp_path, days.version + 1)
    place = days.home / str(days.version + 1)
    (place / "variables").mkdir(parents=True)
    for name in ("card.md", "fingerprint.pb", "variables/variables.index"):
        shutil.copy(whole / name, place / name)
    days.refused("manifest.json cannot be read")

    shutil.copy(whole / "manifest.json", place)
    days.refused("saved_model.pb is missing")

    graph = (whole / "saved_model.pb").read_bytes()
    with (place / "saved_model.pb").open("wb") as file:
        file.write(graph[:100])
        file.flush()
        days.refused("saved_model.pb was changed after export")
        file.write(graph[100:])
    days.refused("variables/variables.data-00000-of-00001 is missing")

    for path in whole.rglob("*"):
        if path.is_file():
            shutil.copy(path, place / path.relative_to(whole))
    days.served()


def test_a_file_that_is_mended_with_its_old_time_is_looked_at_again(days: Days, tmp_path: Path) -> None:
    """cp -p and rsync bring along the time of modification, and the size is the same."""
    made = publish(tmp_path, days.version + 1)
    kept = shutil.copy2(made / "saved_model.pb", tmp_path)
    flip(made)
    shutil.copystat(kept, made / "saved_model.pb")
    place = made.rename(days.home / made.name)
    days.refused("saved_model.pb was changed after export")

    shutil.copy2(kept, place)
    days.served()


class Publisher:
    """A process that publishes by training's own code, when it is told to."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, str(ROOT / "tests" / "publishing.py"), str(root)]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.said() == "ready"

    def publish(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def said(self) -> str:
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="module")
def publisher(days: Days) -> Iterator[Publisher]:
    publisher = Publisher(days.root)
    yield publisher
    publisher.process.kill()
    publisher.process.communicate()


def partial_folders(days: Days) -> list[Path]:
    return list(days.home.glob(f".{days.version + 1}-*"))


def test_a_full_disk_publishes_nothing_and_leaves_nothing(days: Days, publisher: Publisher) -> None:
    """The system refuses to write more; half a version is removed, and the next attempt succeeds."""
    began = len(days.client.versions)
    unlimited = resource.prlimit(publisher.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(publisher.process.pid, resource.RLIMIT_FSIZE, (20_000, unlimited[1]))
    publisher.publish()

    assert publisher.said().startswith("failed: ")
    assert partial_folders(days) == []
    assert days.model()["desired"] == days.version
    assert set(days.client.versions[began:]) == {days.version}

    resource.prlimit(publisher.process.pid, resource.RLIMIT_FSIZE, unlimited)
    publisher.publish()
    assert publisher.said() == f"published {days.version + 1}"
    days.served()


def test_a_publishing_that_is_killed_publishes_nothing(days: Days, publisher: Publisher) -> None:
    """kill -9 when the SavedModel is written, but not its manifest; what is left is no version."""
    began = len(days.client.versions)
    publisher.publish()
    eventually(lambda: any((folder / "saved_model.pb").exists() for folder in partial_folders(days)))
    publisher.process.kill()
    publisher.process.wait()

    (left,) = partial_folders(days)
    assert not (left / "manifest.json").exists()
    days.client.answered()
    model = days.model()
    assert (model["version"], model["desired"], model["rejected"]) == (days.version, days.version, {})
    assert set(days.client.versions[began:]) == {days.version}

    publish(days.root, days.version + 1)
    days.served()


def test_a_version_that_is_not_trusted_does_not_answer(tmp_path: Path) -> None:
    """It is right in every other way; the digest that would let it in is told."""
    trusted = digest(document(publish(tmp_path, 1)))
    with Server(
        "--artifacts", str(tmp_path), "--model-poll-s", "0.1", "--trusted-digests", trusted.upper()
    ) as server:
        days = Days(tmp_path, server)
        place = publish(tmp_path, 2)
        days.refused(f"the digest of its manifest.json, {digest(document(place))}, is not among the trusted")
        days.client.stop()
