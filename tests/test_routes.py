"""The routes that are not one model's contract: what is served, health, metrics, docs, unknown models."""

import asyncio
import json
import re
from threading import Event

import httpx
import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from mean_servable import MeanServable
from rows import document, needed
from servers import client_of
from service.actions import NAMES, actions
from service.app import create_app
from service.features import Matrix
from service.inference import CALL_ROWS
from service.models import MODELS
from service.protocol import PredictRequest
from service.registry import Registry
from service.routes import unknown_model_routes
from service.settings import Settings
from service.spec import ModelSpec
from service.tasks import Outputs

pytestmark = pytest.mark.anyio


async def test_root_leads_to_the_docs(client: httpx.AsyncClient) -> None:
    """Until there is a page, / shows the documentation."""
    response = await client.get("/")

    assert response.status_code == 307
    assert response.headers["location"] == "/docs"


async def test_docs_need_no_internet(client: httpx.AsyncClient) -> None:
    """Every script and style of /docs comes from this service: hospitals have no internet."""
    page = (await client.get("/docs")).text
    assets = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert len(assets) >= 2
    assert "://" not in "".join(assets)
    for asset in assets:
        assert (await client.get(asset)).status_code == 200


async def test_models_lists_every_declared_model_and_the_device(client: httpx.AsyncClient) -> None:
    """GET /models has the features with units and ranges, the example, the versions and the card."""
    body = (await client.get("/models")).json()

    assert body["device"] == "cpu"
    assert [model["name"] for model in body["models"]] == list(MODELS)
    survival = body["models"][1]
    assert survival["versions"] == [1]
    assert survival["card"].startswith("#")
    assert survival["metrics"]["protocol"] == "none"
    assert survival["training"]["recipe"] == "mean"
    assert survival["threshold"]["value"] == 0.149
    age = survival["features"][-1]
    assert (age["name"], age["unit"], age["low"], age["high"]) == ("age", "years", 18, 110)
    assert age["seen"] == {"low": 18, "high": 110, "levels": None}
    diagnosis = survival["features"][0]
    assert diagnosis["seen"]["levels"][0] == "DGN1"
    assert dict(zip(diagnosis["levels"], diagnosis["codes"], strict=True))["DGN8"] == 8
    assert age["codes"] is None


async def test_a_model_and_its_version_describe_themselves(
    client: httpx.AsyncClient, spec: ModelSpec
) -> None:
    """The description is the same by name, by version and in the list."""
    listed = {model["name"]: model for model in (await client.get("/models")).json()["models"]}

    assert (await client.get(f"/models/{spec.name}")).json() == listed[spec.name]
    assert (await client.get(f"/models/{spec.name}/versions/1")).json() == listed[spec.name]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/models/horse"),
        ("GET", "/models/horse/versions/1"),
        ("POST", "/models/horse/predict"),
        ("POST", "/models/horse/versions/1/evaluate"),
        ("POST", "/models/horse/explain"),
        ("POST", "/models/horse/what-if"),
        ("GET", "/models/horse/card"),
        ("GET", "/models/horse/versions/1/card/horse.png"),
    ],
)
async def test_an_unknown_model_is_not_found_and_the_known_are_named(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    """The names of the models help; the name that was asked for is not repeated."""
    response = await client.request(method, path)

    assert response.status_code == 404
    assert "survival" in response.json()["detail"]
    assert "horse" not in response.text


async def test_where_an_unknown_model_is_not_found_a_known_one_answers(client: httpx.AsyncClient) -> None:
    """No path that is kept for saying which models there are is missing of those: that would be a 500."""
    for route in unknown_model_routes().routes:
        assert isinstance(route, APIRoute)
        path = route.path.format(model="survival", version=1, label="stable", file="calibration.png")
        for method in route.methods:
            assert (await client.request(method, path)).status_code in (200, 400, 415, 422), (method, path)


@pytest.mark.parametrize(
    "path", ["/nowhere", "/models/survival/nowhere", "/models/", "/models/survival/predict/"]
)
async def test_an_unknown_path_is_a_problem(client: httpx.AsyncClient, path: str) -> None:
    """404 has the same shape as every other error."""
    response = await client.get(path)

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_health_is_live_and_ready(client: httpx.AsyncClient) -> None:
    """Two questions with two answers."""
    assert (await client.get("/health/live")).json() == {"status": "live"}
    assert (await client.get("/health/ready")).json() == {"status": "ready"}


@pytest.mark.parametrize(
    "path",
    ["/health/live", "/health/ready", "/models", "/models/survival", "/models/survival/card", "/metrics"],
)
async def test_head_asks_what_get_answers(client: httpx.AsyncClient, path: str) -> None:
    """Load balancers probe with HEAD; the documents do not list it twice."""
    assert (await client.head(path)).status_code == (await client.get(path)).status_code == 200
    assert "head" not in (await client.get("/openapi.json")).json()["paths"][path]


async def test_a_service_without_artifacts_is_live_but_not_ready() -> None:
    """all([]) is true; a service that answers for no model is not ready all the same."""
    async with client_of(create_app(Settings(), Registry(MODELS))) as client:
        ready = await client.get("/health/ready")

        assert (await client.get("/health/live")).status_code == 200
        assert ready.status_code == 503
        assert ready.headers["retry-after"]
        assert "survival: there is no version of it" in ready.json()["detail"]


async def test_a_service_without_models_is_not_ready() -> None:
    """Nothing to answer for is not readiness."""
    assert not Registry({}).ready
    async with client_of(create_app(Settings(), Registry({}))) as client:
        assert (await client.get("/health/ready")).status_code == 503


async def test_health_answers_while_a_large_request_is_computed() -> None:
    """More rows than one call takes run beside the loop: a probe must not wait for a client's 100,000."""
    asked, released = Event(), Event()

    class Slow(MeanServable):
        def predict(self, matrix: Matrix) -> Outputs:
            asked.set()
            assert released.wait(timeout=30)
            return super().predict(matrix)

    registry = Registry(MODELS)
    registry.add(Slow(MODELS["and_gate"]))
    body = {"instances": [{"x1": 1, "x2": 1}] * (CALL_ROWS + 1)}
    async with client_of(create_app(Settings(), registry)) as client:
        slow = asyncio.create_task(client.post("/models/and_gate/predict", json=body))
        await asyncio.to_thread(asked.wait, 30)

        assert (await client.get("/health/live")).status_code == 200
        assert not slow.done()

        released.set()
        assert (await slow).status_code == 200


async def test_one_missing_model_does_not_silence_the_others() -> None:
    """The model that is there answers; the other gives 503 and is described as not ready."""
    registry = Registry(MODELS)
    registry.add(MeanServable(MODELS["and_gate"]))
    body = {"instances": [{"x1": 1, "x2": 1}]}
    async with client_of(create_app(Settings(), registry)) as client:
        present = await client.post("/models/and_gate/predict", json=body)
        absent = await client.post("/models/survival/predict", json=body)
        description = (await client.get("/models/survival")).json()

        assert present.status_code == 200
        assert absent.status_code == 503
        assert absent.headers["retry-after"]
        assert description["ready"] is False
        assert (await client.get("/health/ready")).status_code == 503


async def test_the_newest_version_answers_and_the_older_can_be_named() -> None:
    """Two versions are served at once."""
    registry = Registry(MODELS)
    for version in (2, 10, 9):
        registry.add(MeanServable(MODELS["and_gate"], version))
    body = {"instances": [{"x1": 1, "x2": 1}]}
    async with client_of(create_app(Settings(), registry)) as client:
        newest = await client.post("/models/and_gate/predict", json=body)
        named = await client.post("/models/and_gate/versions/9/predict", json=body)

        assert newest.json()["version"] == 10
        assert named.json()["version"] == 9
        assert (await client.get("/models/and_gate")).json()["versions"] == [10, 9, 2]


async def test_openapi_documents_each_models_own_fields(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """/docs shows names, units, bounds, levels and an example that works."""
    document = (await client.get("/openapi.json")).json()
    predict = document["paths"][f"/models/{spec.name}/predict"]["post"]
    body = predict["requestBody"]["content"]["application/json"]
    request = document["components"]["schemas"][body["schema"]["$ref"].rsplit("/", 1)[1]]
    row = document["components"]["schemas"][
        request["properties"]["instances"]["items"]["$ref"].rsplit("/", 1)[1]
    ]

    assert request["description"] == PredictRequest.__doc__
    assert list(row["properties"]) == [feature.name for feature in spec.features]
    for feature in spec.features:
        schema = row["properties"][feature.name]
        assert schema["x-source"] == feature.source
        assert schema.get("x-unit", "") == feature.unit
        assert (schema.get("minimum"), schema.get("maximum")) == (feature.low, feature.high)
        assert schema.get("enum", []) == list(feature.levels)
    assert list(predict["responses"]["422"]["content"]) == ["application/problem+json"]


async def test_the_examples_of_the_docs_work(client: httpx.AsyncClient) -> None:
    """Every example body in /openapi.json, JSON and CSV, is answered with 200."""
    document = (await client.get("/openapi.json")).json()
    tried = 0
    for path, operations in document["paths"].items():
        for media, content in operations.get("post", {}).get("requestBody", {}).get("content", {}).items():
            if "examples" in content or media == "application/octet-stream":
                continue  # a dialect's, below
            example = content["example"]
            body = example if media == "text/csv" else json.dumps(example)
            url = path.replace("{version}", "1").replace("{label}", "stable")
            wants_feature = path.endswith("/what-if") and media == "text/csv"
            query = needed(MODELS[path.split("/")[2]], "what-if") if wants_feature else {}
            response = await client.post(url, content=body, params=query, headers={"content-type": media})

            assert response.status_code == 200, (path, media, response.text)
            tried += 1
    assert tried == len(MODELS) * len(NAMES) * 3 * 2, "plain, by version, by label; JSON and CSV"


async def test_the_examples_of_the_dialects_work(client: httpx.AsyncClient) -> None:
    """They are named by their model and, where there are several, their form."""
    document = (await client.get("/openapi.json")).json()
    tried = set()
    for path, operations in document["paths"].items():
        for media, content in operations.get("post", {}).get("requestBody", {}).get("content", {}).items():
            for name, example in content.get("examples", {}).items():
                model = name.partition(", ")[0]
                url = path.replace("{version}", "1").replace("{label}", "stable").replace("{model}", model)
                value = example["value"]
                body = value if isinstance(value, str) else json.dumps(value)
                # Where the path names no model, the header does.
                headers = {"content-type": media, "x-model": model}
                response = await client.post(url, content=body, headers=headers)

                assert response.status_code == 200, (path, name, response.text)
                tried.add((path, model))
    bodies = {path for path, operations in document["paths"].items() if "post" in operations}
    dialects = {path for path in bodies if not path.startswith(("/models/", "/admin/"))}
    assert {path for path, _ in tried} == dialects
    for path in ("/v2/models/{model}/infer", "/v1/models/{model}:predict", "/invocations"):
        assert {(path, name) for name in MODELS} <= tried


async def test_every_reference_of_the_openapi_document_resolves(client: httpx.AsyncClient) -> None:
    """The request types that routes refer to by name are defined."""
    text = (await client.get("/openapi.json")).text
    schemas = json.loads(text)["components"]["schemas"]
    names = set(re.findall(r"#/components/schemas/([A-Za-z_0-9]+)", text))

    assert names <= schemas.keys()
    assert "HTTPValidationError" not in schemas


async def test_answers_are_what_the_openapi_document_says(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """Each answer validates against the type that documents it."""
    for action in actions(spec):
        body = document(spec, spec.example, action=action.name)
        response = await client.post(f"/models/{spec.name}/{action.name}", json=body)

        TypeAdapter(action.response).validate_json(response.content, extra="forbid")


async def test_explanations_add_up(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """Each feature has its own column's attribution; what they leave unexplained is the residual."""
    body = {"instances": [dict(spec.example)] * 2}
    answer = (await client.post(f"/models/{spec.name}/explain", json=body)).json()
    values = [feature.code(spec.example[feature.name]) for feature in spec.features]
    weighed = {
        feature.name: pytest.approx(place * value)
        for place, (feature, value) in enumerate(zip(spec.features, values, strict=True), start=1)
    }

    assert answer["explained"] == spec.explained
    assert list(answer["baseline"]) == [feature.name for feature in spec.features]
    assert [explanation["attributions"] for explanation in answer["explanations"]] == [weighed, weighed]
    for explanation in answer["explanations"]:
        assert explanation["prediction"] == pytest.approx(sum(explanation["attributions"].values()))
        assert explanation["residual"] == pytest.approx(0, abs=1e-3)
