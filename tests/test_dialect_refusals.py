"""What refuses a request whatever it holds says so in the words of the dialect that it came in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from test_engine import GATE, Held, Picky
from test_security import Keyring

from mean_servable import MeanServable
from servers import client_of
from service.app import Service, create_app
from service.limits import Stage
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings

pytestmark = pytest.mark.anyio

MARKER = "zqmarkerqz"
ERROR = ["error"]
MLFLOW = ["error_code", "message"]
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


@pytest.fixture(params=WAYS, ids=lambda way: way.path)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


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
    assert MARKER not in response.text
    return str(response.json()[way.error[-1]])


async def test_who_may_not_ask_is_told(way: Way, tmp_path: Path) -> None:
    """No key, a wrong one, one of another scope; and one that may is answered."""
    ring = Keyring(tmp_path / "keys.json")
    async with client_of(service(api_keys_file=ring.file)) as client:
        body = way.body([[1, 1]])
        nobody = await client.post(way.path, json=body)
        wrong = await client.post(way.path, json=body, headers={"x-api-key": MARKER})
        other = await client.post(way.path, json=body, headers=ring.bearer("evaluate"))

        assert (await client.post(way.path, json=body, headers=ring.bearer("predict"))).status_code == 200
    for answer in (nobody, wrong):
        assert "Authorization" in told(way, answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert "`predict`" in told(way, other, 403)


async def test_who_asks_too_often_or_too_much_at_a_time_is_told(way: Way) -> None:
    """The second of one in an hour, and one beyond those that may be inside; with the time to wait."""
    app = service(rate_limit="1/hour", max_concurrent_requests=1)
    async with client_of(app) as client:
        assert (await client.post(way.path, json=way.body([[1, 1]]))).status_code == 200
        often = await client.post(way.path, json=way.body([[1, 1]]))
        app.api.state.door.inside = 1
        full = await client.post(way.path, json=way.body([[1, 1]]))

    for answer in (often, full):
        told(way, answer, 429)
        assert int(answer.headers["retry-after"]) > 0


async def test_who_comes_too_late_is_told(way: Way) -> None:
    """The service leaves; another one answers."""
    app = service()
    async with client_of(app) as client:
        app.api.state.door.stage = Stage.CLOSED
        answer = await client.post(way.path, json=way.body([[1, 1]]))

    assert "shutting down" in told(way, answer, 503)
    assert answer.headers["retry-after"]


async def test_who_sends_too_much_is_told(way: Way) -> None:
    """More bytes than a body may have, or more rows."""
    async with client_of(service(max_body_bytes=3 * 2**20)) as client:
        bytes_ = await client.post(
            way.path, content=b" " * (3 * 2**20 + 1), headers={"content-type": "application/json"}
        )
        rows = await client.post(way.path, json=way.body([[1, 1]] * 100_001))

    told(way, bytes_, 413)
    assert "100,000 rows" in told(way, rows, 413)


async def test_who_sends_what_is_not_read_is_told(way: Way) -> None:
    """Another coding than gzip."""
    async with client_of(service()) as client:
        answer = await client.post(way.path, json=way.body([[1, 1]]), headers={"content-encoding": MARKER})

    told(way, answer, 415)
    assert answer.headers["accept-encoding"] == "gzip"


async def test_who_has_waited_long_enough_is_told(way: Way) -> None:
    """The rows' call is still under way, on a thread."""
    servable = Held()
    async with client_of(service(servable)) as client:
        answer = await client.post(
            way.path, json=way.body([[1, 1]] * 1000), headers={"request-timeout": "0.05"}
        )
        servable.released.set()

    told(way, answer, 504)


async def test_who_meets_a_broken_model_is_told(way: Way) -> None:
    """Which request it was, and nothing of the failure."""
    async with client_of(service(Picky(GATE))) as client:
        answer = await client.post(way.path, json=way.body([[0, 0]]))

    text = told(way, answer, 500)
    assert answer.headers["x-request-id"] in text
    assert "non-finite" not in text


async def test_every_refusal_is_documented(way: Way) -> None:
    """/openapi.json has each status; a path that Vertex AI chooses stands in no document."""
    operation = service().api.openapi()["paths"].get(template(way.path), {}).get("post")

    assert (operation is None) == (way.path == VERTEX)
    if operation:
        assert {"400", "404", "408", "413", "415", "429", "500", "503", "504"} <= operation[
            "responses"
        ].keys()


async def test_refusals_are_counted_by_their_routes(way: Way, tmp_path: Path) -> None:
    """Whether the router found the route, or a shortcut."""
    ring = Keyring(tmp_path / "keys.json")
    async with client_of(service(api_keys_file=ring.file)) as client:
        headers = ring.bearer("predict") | {"content-type": "application/json"}
        for content in ("{", "[]"):
            assert (await client.post(way.path, content=content, headers=headers)).status_code == 400
        page = (await client.get("/metrics", headers=ring.bearer("reader"))).text

    assert f'http_requests_total{{method="POST",route="{template(way.path)}",status="400"}} 2.0' in page
