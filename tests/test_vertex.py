"""Vertex AI and SageMaker start the container: what they set and pass, and what they then ask."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from keyrings import Keyring

from rows import refused
from servers import ROOT, TIMEOUT_S, client_of, eventually
from service.app import create_app
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings

pytestmark = pytest.mark.anyio

# What Vertex AI chooses where a model is uploaded without routes of its own.
HEALTH = "/v1/endpoints/123/deployedModels/456"
PREDICT = f"{HEALTH}:predict"
VERTEX = Settings(aip_health_route=HEALTH, aip_predict_route=PREDICT, invocations_model="and_gate")
ONE = {"instances": [{"x1": 1, "x2": 1}]}


async def test_the_routes_that_are_named_answer(registry: Registry) -> None:
    """Readiness, and a prediction for each instance; whatever the media type."""
    async with client_of(create_app(VERTEX, registry)) as client:
        answer = await client.post(PREDICT, json=ONE | {"parameters": {}})
        plain = await client.post(PREDICT, content='{"instances": [[1, 1]]}')

        assert (await client.get(HEALTH)).status_code == 200
        assert 'action="vertex",model="and_gate"' in (await client.get("/metrics")).text
        assert answer.json() == {"predictions": [{"probability": 0.5, "distance_percentile": 50.0}]}
        assert plain.json() == answer.json()


async def test_the_health_route_needs_no_key_and_is_within_no_limit(
    registry: Registry, tmp_path: Path
) -> None:
    """As every path of health: Vertex AI has no key. What is posted there needs one."""
    ring = Keyring(tmp_path / "keys.json")
    settings = VERTEX.model_copy(update={"api_keys_file": ring.file, "rate_limit": "1/hour"})
    async with client_of(create_app(settings, registry)) as client:
        asked = [(await client.get(HEALTH)).status_code for _ in range(3)]
        posted = await client.post(HEALTH)

    assert asked == [200, 200, 200]
    assert posted.status_code == 401


async def test_the_health_route_answers_when_nobody_else_is(registry: Registry) -> None:
    """It says that the service leaves, and is not refused as too many."""
    app = create_app(VERTEX.model_copy(update={"max_concurrent_requests": 1}), registry)
    async with client_of(app) as client:
        app.api.state.door.inside = 1
        asked, other = await client.get(HEALTH), await client.get("/models")
        app.api.state.door.inside = 0

    assert (asked.status_code, other.status_code) == (200, 429)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{}", "at least one row"),
        ('{"instances": []}', "at least one row"),
        ('{"instances": [[1, 1]], "parameters": {"a": 1}}', "`parameters`"),
        ('{"instances": [[1, 1]], "parameters": 0}', "`parameters`"),
        ('{"instances": [[1, 1]], "inputs": [[1, 1]]}', "not defined"),
        ('{"instances": [[1, 7]]}', "x2 is outside"),
        ("x", "not valid JSON"),
    ],
)
async def test_what_is_no_request_is_refused(registry: Registry, body: str, why: str) -> None:
    """By the judge and the reader of the other dialects; Vertex AI's own paths are TensorFlow Serving's."""
    async with client_of(create_app(VERTEX, registry)) as client:
        answer = await client.post(PREDICT, content=body)

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/json"
    assert why in answer.json()["error"]


@pytest.mark.parametrize("path", ["/v1/models/and_gate:predict", "/invocations"])
async def test_a_path_of_another_dialect_fits_but_for_parameters(registry: Registry, path: str) -> None:
    """It keeps its meaning, and `parameters` is none of its keys."""
    settings = Settings(aip_predict_route=path, invocations_model="and_gate")
    headers = {"content-type": "application/json"}
    async with client_of(create_app(settings, registry)) as client:
        fits = await client.post(path, json={"instances": [[1, 1]]}, headers=headers)
        more = await client.post(path, json={"instances": [[1, 1]], "parameters": {}}, headers=headers)

    assert (fits.status_code, more.status_code) == (200, 400)
    assert fits.json().keys() == {"predictions"}


async def test_a_path_that_no_dialect_has_refuses_as_the_native_one_does(registry: Registry) -> None:
    """Vertex AI asks for no form of errors."""
    settings = Settings(aip_predict_route="/predict", invocations_model="and_gate")
    async with client_of(create_app(settings, registry)) as client:
        refused(await client.post("/predict", json={"instances": [[1, 7]]}), 422, "#/instances/0/1")


async def test_health_is_not_answered_while_a_model_is_missing() -> None:
    """Vertex AI sends nothing to a container until then."""
    async with client_of(create_app(VERTEX, Registry(MODELS))) as client:
        assert (await client.get(HEALTH)).status_code == 503


async def test_routes_that_are_there_keep_their_meaning(registry: Registry) -> None:
    """TensorFlow Serving's path fits the contract as it is, and so do /health/ready and /invocations."""
    settings = Settings(aip_health_route="/health/ready", aip_predict_route="/v1/models/wine_type:predict")
    body = {"instances": [dict(MODELS["wine_type"].example)]}
    async with client_of(create_app(settings, registry)) as client:
        answer = await client.post("/v1/models/wine_type:predict", json=body)

        assert "probability_of_red" in answer.json()["predictions"][0]
        assert (await client.get("/health/ready")).json() == {"status": "ready"}


async def test_without_the_settings_there_are_no_such_routes(client: httpx.AsyncClient) -> None:
    """The paths are Vertex AI's to choose."""
    assert (await client.get(HEALTH)).status_code == 404


@pytest.mark.parametrize("path", ["predict", "/{model}", "/a b", "/a?b"])
def test_a_route_is_a_path(path: str) -> None:
    """And no pattern."""
    with pytest.raises(ValueError, match="begins with /"):
        Settings(aip_predict_route=path)


@contextmanager
def serving(environment: Mapping[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m service` as a platform starts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env={**os.environ, "DRAIN_GRACE_S": "0", **environment},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.slow
def test_a_process_serves_as_vertex_ai_asks() -> None:
    """AIP_HTTP_PORT, AIP_HEALTH_ROUTE, AIP_PREDICT_ROUTE; what else it sets means nothing."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = {
        "AIP_HTTP_PORT": str(port),
        "AIP_HEALTH_ROUTE": HEALTH,
        "AIP_PREDICT_ROUTE": PREDICT,
        "AIP_MODE": "PREDICTION",
        "AIP_STORAGE_URI": "gs://nowhere",
        "MODELS": "and_gate,survival",
        "INVOCATIONS_MODEL": "and_gate",
    }
    with serving(environment) as process:
        eventually(lambda: process.poll() is not None or answers(url + HEALTH))
        answer = httpx.post(url + PREDICT, json=ONE).json()

        assert answer["predictions"][0]["probability"] > 0.9
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0


@pytest.mark.slow
def test_a_process_serves_as_sagemaker_asks() -> None:
    """`serve` is its argument, /ping and /invocations are its paths; the port may be another than 8080.

    Where one model is served nobody needs to name it.
    """
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = {"SAGEMAKER_BIND_TO_PORT": str(port), "MODELS": "and_gate"}
    with serving(environment, "serve") as process:
        eventually(lambda: process.poll() is not None or answers(url + "/ping"))
        answer = httpx.post(
            url + "/invocations", content="x1,x2\n1,1\n", headers={"content-type": "text/csv"}
        )

        assert answer.json()["predictions"][0]["probability"] > 0.9


def test_a_port_of_this_services_own_outranks_a_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    """PORT is what the operator says; a wrong AIP_HTTP_PORT is a wrong port."""
    monkeypatch.setenv("AIP_HTTP_PORT", "8081")
    assert Settings().port == 8081
    monkeypatch.setenv("PORT", "8082")
    assert Settings().port == 8082
    assert Settings(_cli_parse_args=["--port", "8083"]).port == 8083
