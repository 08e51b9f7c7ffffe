"""TensorFlow Serving's REST API: requests in its documented forms, and its answers."""

from base64 import b64encode
from typing import Any

import anyio
import httpx
import numpy as np
import pytest

from mean_servable import MeanServable
from rows import changed, without
from servers import client_of
from service.app import create_app
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Regression

pytestmark = pytest.mark.anyio

GATE = MODELS["and_gate"]
MARKER = "zqmarkerqz"


def codes(spec: ModelSpec, **values: Any) -> list[float]:
    """The example as the numbers of `x`."""
    row = changed(spec, **values)
    return [feature.code(row[feature.name]) for feature in spec.features]


def outputs(spec: ModelSpec, *rows: list[float]) -> dict[str, list[Any]]:
    """What the graph answers."""
    found = MeanServable(spec).predict(np.asarray(rows, np.float32))
    return {output.name: found[output.name].tolist() for output in spec.outputs}


def refused(response: httpx.Response, status: int = 400) -> str:
    """Assert that the response is TensorFlow Serving's envelope, and return its text."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"]
    return str(response.json()["error"])


class TestPredict:
    """POST /v1/models/{model}[/versions/{version}|/labels/{label}]:predict."""

    async def test_rows_get_objects_and_columns_get_lists(
        self, client: httpx.AsyncClient, spec: ModelSpec
    ) -> None:
        """The same rows in every documented form give the same numbers, in the form that was asked."""
        row, other = dict(spec.example), changed(spec, **{spec.features[0].name: _another(spec)})
        numbers = [codes(spec), codes(spec, **{spec.features[0].name: _another(spec)})]
        columns = outputs(spec, *numbers)
        objects = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        forms: list[tuple[dict[str, Any], dict[str, Any]]] = [
            ({"instances": numbers}, {"predictions": objects}),
            ({"instances": [{"x": one} for one in numbers]}, {"predictions": objects}),
            ({"instances": [row, other]}, {"predictions": objects}),
            (
                {"instances": [{n: [v] for n, v in one.items()} for one in (row, other)]},
                {"predictions": objects},
            ),
            ({"inputs": numbers}, {"outputs": columns}),
            ({"inputs": {"x": numbers}}, {"outputs": columns}),
            ({"inputs": {name: [row[name], other[name]] for name in row}}, {"outputs": columns}),
            ({"inputs": {name: [[row[name]], [other[name]]] for name in row}}, {"outputs": columns}),
            ({"signature_name": "serving_default", "instances": numbers}, {"predictions": objects}),
            ({"signature_name": "", "instances": numbers}, {"predictions": objects}),
        ]
        for body, expected in forms:
            response = await client.post(f"/v1/models/{spec.name}:predict", json=body)

            assert response.status_code == 200, (body, response.text)
            assert response.json() == expected
            assert response.headers["content-type"] == "application/json"

    async def test_a_version_and_a_label_can_be_asked(self, client: httpx.AsyncClient) -> None:
        """Both stand between the model and the verb."""
        for below in ("", "/versions/1", "/labels/stable"):
            response = await client.post(f"/v1/models/and_gate{below}:predict", json={"instances": [[1, 1]]})

            assert response.json() == {"predictions": [{"probability": 0.5, "distance_percentile": 50.0}]}

    @pytest.mark.parametrize(
        ("version", "status"), [("01", 200), ("2", 404), ("abc", 400), ("9" * 5000, 400), ("1.0", 400)]
    )
    async def test_a_version_is_digits(self, client: httpx.AsyncClient, version: str, status: int) -> None:
        """With zeros before them, if somebody writes them; of anything else it is no path of the API."""
        path = f"/v1/models/and_gate/versions/{version}"
        said = await client.get(path)
        answer = await client.post(f"{path}:predict", json={"instances": [[1, 1]]})

        assert (said.status_code, answer.status_code) == (status, status)
        assert status != 400 or "Malformed request" in answer.json()["error"]

    async def test_the_version_that_is_named_answers(self) -> None:
        """And not the newest one."""
        registry = Registry(MODELS)
        registry.add(MeanServable(GATE, 7), "stable")
        registry.add(_Sevenths(GATE, 8))
        asked = {"": 0.5, "/versions/7": 0.5, "/versions/8": 0.125, "/labels/stable": 0.5}
        async with client_of(create_app(Settings(), registry)) as client:
            for below, expected in asked.items():
                url = f"/v1/models/and_gate{below}:predict"
                answer = (await client.post(url, json={"inputs": [[1, 1]]})).json()

                assert answer["outputs"]["probability"] == [expected]

    @pytest.mark.parametrize("media", ["application/x-www-form-urlencoded", "text/plain", None])
    async def test_the_media_type_of_the_request_means_nothing(
        self, client: httpx.AsyncClient, media: str | None
    ) -> None:
        """`curl -d` announces a form."""
        headers = {"content-type": media} if media else {}
        response = await client.post(
            "/v1/models/and_gate:predict", content=b'{"instances": [[1.0, 1.0]]}', headers=headers
        )

        assert response.status_code == 200

    async def test_texts_may_come_as_base64(self, client: httpx.AsyncClient) -> None:
        """TensorFlow Serving's way to send a string tensor."""
        spec = MODELS["survival"]
        level = {"b64": b64encode(str(spec.example["diagnosis"]).encode()).decode()}
        response = await client.post(
            "/v1/models/survival:predict", json={"instances": [changed(spec, diagnosis=level)]}
        )

        assert response.json() == (await self._example(client, spec)).json()

    async def test_levels_and_flags_may_come_as_codes(self, client: httpx.AsyncClient) -> None:
        """As they stand in the table that the graph was fed with."""
        spec = MODELS["survival"]
        coded = dict(zip(spec.example, codes(spec), strict=True))
        response = await client.post("/v1/models/survival:predict", json={"instances": [coded]})

        assert response.json() == (await self._example(client, spec)).json()

    async def _example(self, client: httpx.AsyncClient, spec: ModelSpec) -> httpx.Response:
        return await client.post(f"/v1/models/{spec.name}:predict", json={"instances": [dict(spec.example)]})

    async def test_many_rows_come_back_in_order(self, client: httpx.AsyncClient) -> None:
        """More than a call takes."""
        rows = [[place % 2, 1] for place in range(1000)]
        answers = (await client.post("/v1/models/and_gate:predict", json={"instances": rows})).json()

        assert [one["probability"] for one in answers["predictions"]] == outputs(GATE, *rows)["probability"]

    async def test_requests_at_a_time_get_each_their_own(self, client: httpx.AsyncClient) -> None:
        """They are computed together with those of the native dialect."""
        found: dict[int, Any] = {}

        async def ask(place: int) -> None:
            row = [place % 2, place // 2 % 2]
            native = {"instances": [dict(zip(GATE.example, row, strict=True))]}
            url = "/v1/models/and_gate:predict" if place % 3 else "/models/and_gate/predict"
            answer = await client.post(url, json={"instances": [row]} if place % 3 else native)
            found[place] = (answer.json()["predictions"][0]["probability"], outputs(GATE, row)["probability"])

        async with anyio.create_task_group() as tasks:
            for place in range(32):
                tasks.start_soon(ask, place)

        assert len(found) == 32
        for answered, expected in found.values():
            assert [answered] == expected


def _another(spec: ModelSpec) -> Any:
    """A value of the first feature that its example has not."""
    first = spec.features[0]
    return next(level for level in first.levels if level != spec.example[first.name]) if first.levels else 0


class _Sevenths(MeanServable):
    def predict(self, matrix: Any) -> Any:
        return {name: values / 4 for name, values in super().predict(matrix).items()}


class TestClassifyAndRegress:
    """POST ...:classify and ...:regress, of models of these tasks."""

    @pytest.mark.parametrize("name", [n for n, s in MODELS.items() if not isinstance(s.task, Regression)])
    async def test_classes_come_with_their_probabilities(self, client: httpx.AsyncClient, name: str) -> None:
        """A pair for each class, in the declared order."""
        spec = MODELS[name]
        body = {"examples": [dict(spec.example), {name: [value] for name, value in spec.example.items()}]}
        results = (await client.post(f"/v1/models/{name}:classify", json=body)).json()["results"]

        assert results == [_pairs(spec)] * 2
        assert sum(score for _, score in results[0]) == pytest.approx(1, abs=1e-6)

    async def test_a_number_comes_for_each_example(self, client: httpx.AsyncClient) -> None:
        """Bare, as the documented answer has it."""
        spec = MODELS["wine_quality"]
        body = {"signature_name": "serving_default", "examples": [dict(spec.example)]}
        answer = (await client.post("/v1/models/wine_quality:regress", json=body)).json()

        assert answer == {"results": outputs(spec, codes(spec))["quality"]}

    async def test_the_context_is_part_of_every_example(self, client: httpx.AsyncClient) -> None:
        """Features that all examples share are sent once."""
        spec = MODELS["wine_quality"]
        body = {"context": {"type": "red"}, "examples": [without(spec.example, "type")] * 2}
        answer = (await client.post("/v1/models/wine_quality:regress", json=body)).json()

        assert answer == {"results": outputs(spec, codes(spec))["quality"] * 2}

    async def test_what_is_wrong_in_the_context_is_told_once_and_there(
        self, client: httpx.AsyncClient
    ) -> None:
        """And what is wrong in an example at its place."""
        body = {"context": {"x1": 7}, "examples": [{"x2": 1}, {"x2": 7}, {"x2": 1}]}
        text = refused(await client.post("/v1/models/and_gate:classify", json=body))

        assert text.splitlines() == [
            "#/context/x1: x1 is outside the physical range; give a whole number from 0 to 1.",
            "#/examples/1/x2: x2 is outside the physical range; give a whole number from 0 to 1.",
        ]

    async def test_a_context_is_not_copied_beyond_the_declaration(self, client: httpx.AsyncClient) -> None:
        """Each example would get a copy of all its fields."""
        body = {"context": dict.fromkeys("abc", 1), "examples": [{"x2": 1}]}
        text = refused(await client.post("/v1/models/and_gate:classify", json=body))

        assert "more fields than the declaration" in text

    @pytest.mark.parametrize(
        ("path", "why"),
        [
            ("wine_quality:classify", "does not classify"),
            ("and_gate:regress", "does not regress"),
            ("wine_grade/versions/1:regress", "does not regress"),
        ],
    )
    async def test_a_model_of_another_task_says_so(
        self, client: httpx.AsyncClient, path: str, why: str
    ) -> None:
        """And names what can be asked."""
        text = refused(await client.post(f"/v1/models/{path}", json={"examples": []}))

        assert why in text
        assert ":predict" in text


def _pairs(spec: ModelSpec) -> list[list[Any]]:
    columns = outputs(spec, codes(spec))
    match spec.task:
        case Multiclass(classes=classes):
            return [[str(c), p] for c, p in zip(classes, columns["probabilities"][0], strict=True)]
        case Binary(event=event, complement=complement):
            share = columns[event][0]
            other = columns[complement][0] if complement else float(1 - np.float32(share))
            no, yes = map(str, spec.task.labels(spec.target))
            return [[no, other], [yes, share]]
    raise AssertionError


class TestDescriptions:
    """GET /v1/models/{model}, and its metadata."""

    async def test_every_version_is_listed_with_its_state(self) -> None:
        """Those that answer and those that were rejected, newest first, numbers as strings."""
        registry = Registry(MODELS)
        for version in (2, 10):
            registry.add(MeanServable(GATE, version), "stable" if version == 2 else "canary")
        registry.rejected["and_gate"][11] = "the digest of its card.md is another one"
        async with client_of(create_app(Settings(), registry)) as client:
            every = (await client.get("/v1/models/and_gate")).json()["model_version_status"]
            one = (await client.get("/v1/models/and_gate/versions/11")).json()["model_version_status"]
            labelled = (await client.get("/v1/models/and_gate/labels/canary")).json()["model_version_status"]

        assert [(status["version"], status["state"]) for status in every] == [
            ("11", "END"),
            ("10", "AVAILABLE"),
            ("2", "AVAILABLE"),
        ]
        assert every[1]["status"] == {"error_code": "OK", "error_message": ""}
        assert every[0]["status"] == {
            "error_code": "FAILED_PRECONDITION",
            "error_message": "the digest of its card.md is another one",
        }
        assert one == every[:1]
        assert labelled == every[1:2]

    async def test_metadata_is_the_signature(self, client: httpx.AsyncClient, spec: ModelSpec) -> None:
        """Names, types and shapes, as protobuf's JSON has them."""
        for below in ("", "/versions/1", "/labels/stable"):
            found = (await client.get(f"/v1/models/{spec.name}{below}/metadata")).json()
            signature = found["metadata"]["signature_def"]["signature_def"]["serving_default"]

            assert found["model_spec"] == {"name": spec.name, "signature_name": "", "version": "1"}
            assert signature["method_name"] == "tensorflow/serving/predict"
            assert signature["defaults"] == {}
            assert signature["inputs"]["x"]["name"] == "x:0"
            assert _shape(signature["inputs"]["x"]) == ["-1", str(len(spec.features))]
            assert {name: _shape(tensor) for name, tensor in signature["outputs"].items()} == {
                output.name: ["-1", str(output.width)] if output.width else ["-1"] for output in spec.outputs
            }

    async def test_a_model_without_versions_is_not_available(self) -> None:
        """Its status is not found, its metadata and its answers are not ready."""
        async with client_of(create_app(Settings(), Registry(MODELS))) as client:
            refused(await client.get("/v1/models/and_gate"), 404)
            refused(await client.get("/v1/models/and_gate/metadata"), 503)
            asked = await client.post("/v1/models/and_gate:predict", json={"instances": [[1, 1]]})

            refused(asked, 503)
            assert asked.headers["retry-after"]

    async def test_head_asks_what_get_answers(self, client: httpx.AsyncClient) -> None:
        """As everywhere in this service."""
        assert (await client.head("/v1/models/and_gate")).status_code == 200


def _shape(tensor: dict[str, Any]) -> list[str]:
    assert tensor["dtype"] == "DT_FLOAT"
    assert tensor["tensor_shape"]["unknown_rank"] is False
    return [dim["size"] for dim in tensor["tensor_shape"]["dim"]]
