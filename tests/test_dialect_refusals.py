"""What refuses a request whatever it holds does so in the words of its dialect; and what is counted of it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from keyrings import Keyring
from servables import GATE, Held, Picky

from mean_servable import MeanServable
from servers import client_of
from service.app import Service, create_app
from service.limits import Stage
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings

pytestmark = pytest.mark.anyio

MARKER = "zqmarkerqz"
JSON = {"content-type": "application/json"}
ERROR = ["error"]
MLFLOW = ["error_code", "message"]
MLFLOW_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    413: "BAD_REQUEST",
    415: "BAD_REQUEST",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "TEMPORARILY_UNAVAILABLE",
}
# One that Vertex AI would choose lies among TensorFlow Serving's paths, another among nobody's.
VERTEX = "/v1/endpoints/7/deployedModels/8:predict"


class Way(NamedTuple):
    """A path, a body of so many rows, all of these two numbers, and the keys of an error."""

    path: str
    body: Callable[[list[list[int]]], dict[str, Any]]
    error: list[str]


def tensor(rows: list[list[int]]) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [len(rows), 2], "datatype": "FP32", "data": rows}]}


def instances(rows: list[list[int]]) -> dict[str, Any]:
    return {"instances": rows}


def examples(rows: list[list[int]]) -> dict[str, Any]:
    return {"examples": [{"x1": x1, "x2": x2} for x1, x2 in rows]}


WAYS = [
    Way("/v2/models/and_gate/infer", tensor, ERROR),
    Way("/v2/models/and_gate/versions/1/infer", tensor, ERROR),
    Way("/v1/models/and_gate:predict", instances, ERROR),
    Way("/v1/models/and_gate/versions/1:predict", instances, ERROR),
    Way("/v1/models/and_gate/labels/stable:predict", instances, ERROR),
    Way("/v1/models/and_gate:classify", examples, ERROR),
    Way("/invocations", instances, MLFLOW),
    Way(VERTEX, instances, ERROR),
]


def template(path: str) -> str:
    """The route of a path."""
    named = path.replace("and_gate", "{model}").replace("stable", "{label}")
    return named.replace("versions/1", "versions/{version}")


def service(servable: MeanServable | None = None, **settings: Any) -> Service:
    registry = Registry(MODELS)
    registry.add(servable or MeanServable(GATE), "stable")
    named = {"aip_predict_route": VERTEX, "invocations_model": "and_gate"}
    return create_app(Settings(**named, **settings), registry)


def told(way: Way, response: httpx.Response, status: int) -> str:
    """Assert that it is the dialect's envelope, and return its text."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == way.error
    assert response.json().get("error_code", MLFLOW_CODES[status]) == MLFLOW_CODES[status]
    assert MARKER not in response.text
    return str(response.json()[way.error[-1]])


async def test_who_may_not_ask_is_told(tmp_path: Path) -> None:
    """No key, a wrong one, one of another scope; and one that may is answered."""
    ring = Keyring(tmp_path / "keys.json")
    async with client_of(service(api_keys_file=ring.file)) as client:
        for way in WAYS:
            body = way.body([[1, 1]])
            right = await client.post(way.path, json=body, headers=ring.bearer("predict"))
            other = await client.post(way.path, json=body, headers=ring.bearer("evaluate"))

            assert right.status_code == 200
            assert "`predict`" in told(way, other, 403)
            for headers in ({}, {"x-api-key": MARKER}):
                answer = await client.post(way.path, json=body, headers=headers)

                assert "Authorization" in told(way, answer, 401)
                assert answer.headers["www-authenticate"] == "Bearer"


async def test_who_asks_too_often_is_told() -> None:
    """Beyond one in an hour for each way; with the time to wait."""
    async with client_of(service(rate_limit=f"{len(WAYS)}/hour")) as client:
        for way in WAYS:
            assert (await client.post(way.path, json=way.body([[1, 1]]))).status_code == 200
        for way in WAYS:
            answer = await client.post(way.path, json=way.body([[1, 1]]))

            told(way, answer, 429)
            assert int(answer.headers["retry-after"]) > 1


async def test_who_comes_when_too_many_are_inside_is_told() -> None:
    """A little later there may be room."""
    app = service(max_concurrent_requests=1)
    async with client_of(app) as client:
        app.api.state.door.inside = 1
        for way in WAYS:
            answer = await client.post(way.path, json=way.body([[1, 1]]))

            told(way, answer, 429)
            assert answer.headers["retry-after"] == "1"


async def test_who_comes_too_late_is_told() -> None:
    """The service leaves; another one answers."""
    app = service()
    async with client_of(app) as client:
        app.api.state.door.stage = Stage.CLOSED
        for way in WAYS:
            answer = await client.post(way.path, json=way.body([[1, 1]]))

            assert "shutting down" in told(way, answer, 503)
            assert answer.headers["retry-after"]


async def test_who_sends_what_is_too_large_or_packed_otherwise_is_told() -> None:
    """More bytes than a body may have, more rows, and another coding than gzip."""
    async with client_of(service(max_body_bytes=3 * 2**20)) as client:
        for way in WAYS:
            large = b" " * (3 * 2**20 + 1)
            bytes_ = await client.post(way.path, content=large, headers=JSON)
            rows = await client.post(way.path, json=way.body([[1, 1]] * 100_001))
            packed = await client.post(
                way.path, json=way.body([[1, 1]]), headers={"content-encoding": MARKER}
            )

            told(way, bytes_, 413)
            assert "100,000 rows" in told(way, rows, 413)
            told(way, packed, 415)
            assert packed.headers["accept-encoding"] == "gzip"


async def test_who_has_waited_long_enough_is_told() -> None:
    """The rows' call is still under way, on a thread."""
    servable = Held()
    async with client_of(service(servable)) as client:
        for way in WAYS:
            body, headers = way.body([[1, 1]] * 1000), {"request-timeout": "0.05"}
            answer = await client.post(way.path, json=body, headers=headers)

            told(way, answer, 504)
        servable.released.set()


async def test_who_meets_a_broken_model_is_told() -> None:
    """Which request it was, and nothing of the failure."""
    async with client_of(service(Picky(GATE))) as client:
        for way in WAYS:
            answer = await client.post(way.path, json=way.body([[0, 0]]))

            text = told(way, answer, 500)
            assert answer.headers["x-request-id"] in text
            assert "non-finite" not in text
            assert "`instance`" not in text, "the native dialect's field"


async def test_refusals_are_counted_by_their_routes() -> None:
    """Whether the router found the route, or a shortcut."""
    async with client_of(service()) as client:
        for way in WAYS:
            for content in ("{", "[]"):
                assert (await client.post(way.path, content=content, headers=JSON)).status_code == 400
        page = (await client.get("/metrics")).text

    for way in WAYS:
        route = template(way.path)
        assert f'http_requests_total{{method="POST",route="{route}",status="400"}} 2.0' in page


async def test_rows_are_counted_by_what_was_asked() -> None:
    """Apart from the native dialect's `predict`."""
    async with client_of(service()) as client:
        for way in WAYS:
            assert (await client.post(way.path, json=way.body([[1, 1]]))).status_code == 200
        page = (await client.get("/metrics")).text

    found = re.findall(r'model_rows_total\{action="(.+?)",model="and_gate",version="1"\} (\d+)', page)
    asked = {"infer": "2", "v1:predict": "3", "v1:classify": "1", "invocations": "1", "vertex": "1"}
    assert dict(found) == asked


def test_every_refusal_is_documented() -> None:
    """/openapi.json has each status; a path that Vertex AI chooses stands in no document."""
    paths = service().api.openapi()["paths"]

    assert template(VERTEX) not in paths
    for way in WAYS[:-1]:
        responses = paths[template(way.path)]["post"]["responses"]
        assert {"400", "404", "408", "413", "415", "429", "500", "503", "504"} <= responses.keys()
