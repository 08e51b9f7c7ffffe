"""Fixtures: every declared model, answered by arithmetic, in process; and the committed artifacts."""

import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from keyrings import Keyring

from mean_servable import MeanServable
from rows import document
from servers import ROOT, client_of
from service.actions import NAMES
from service.app import create_app, load
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec

ARTIFACTS = ROOT / "artifacts"
# As the service computes, and before TensorFlow's first operation: two threads round by where they part.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _settings_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the developer's environment and .env out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.delenv(name.upper(), raising=False)
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def registry() -> Registry:
    """Every declared model, answered by arithmetic."""
    registry = Registry(MODELS)
    for spec in MODELS.values():
        registry.add(MeanServable(spec), "stable")
    return registry


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where the gate's versions are looked for; it is not there yet."""
    return tmp_path / "and_gate"


@pytest.fixture
def gates() -> Registry:
    """A registry of the gate alone, without a version."""
    return Registry({"and_gate": MODELS["and_gate"]})


@pytest.fixture(scope="session")
async def client(registry: Registry) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service over arithmetic."""
    async with client_of(create_app(Settings(), registry)) as client:
        yield client


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    """Each declared model in turn."""
    return request.param


@pytest.fixture(scope="session")
def loaded() -> Registry:
    """The committed artifacts, loaded and proven."""
    return load(Settings(artifacts=ARTIFACTS))


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A copy of the newest AND gate, to be tampered with."""
    newest = max((ARTIFACTS / "and_gate").iterdir(), key=lambda path: int(path.name))
    return Path(shutil.copytree(newest, tmp_path / "and_gate" / newest.name))


@pytest.fixture(params=NAMES)
def action(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def post(client: httpx.AsyncClient, spec: ModelSpec, action: str) -> Callable[..., Any]:
    """Post rows, or raw bytes, to the action of the model."""
    url = f"/models/{spec.name}/{action}"

    async def send(*rows: Any, raw: bytes | None = None, media: str = "application/json") -> httpx.Response:
        body = json.dumps(document(spec, *rows, action=action)).encode() if raw is None else raw
        return await client.post(url, content=body, headers={"content-type": media})

    return send


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "keys.json")
