"""MLflow's scoring server, which is SageMaker's contract too: what it reads, who answers, how it refuses."""

import json
from io import StringIO
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from mean_servable import MeanServable
from rows import changed
from servers import client_of
from service import __version__
from service.app import create_app
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec

pytestmark = pytest.mark.anyio

MARKER = "zqmarkerqz"
GATE = {"x-model": "and_gate"}
ONE = {"dataframe_records": [{"x1": 1, "x2": 1}]}


def codes(spec: ModelSpec) -> list[float]:
    return [feature.code(spec.example[feature.name]) for feature in spec.features]


def predictions(spec: ModelSpec, rows: int = 1) -> dict[str, Any]:
    """What so many examples are answered with."""
    found = MeanServable(spec).predict(np.asarray([codes(spec)], np.float32))
    return {"predictions": [{output.name: found[output.name][0].tolist() for output in spec.outputs}] * rows}


def refused(response: httpx.Response, status: int, code: str) -> str:
    """Assert that the response is MLflow's envelope, and return its text."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error_code", "message"]
    assert response.json()["error_code"] == code
    return str(response.json()["message"])


async def test_each_form_of_rows_gets_records(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """As pandas writes frames, as TensorFlow Serving's JSON, as tables; two rows in each."""
    frame = pd.DataFrame([dict(spec.example)] * 2)
    headers = {"x-model": spec.name}
    forms: list[dict[str, Any]] = [
        {"dataframe_split": json.loads(frame.to_json(orient="split"))},
        {"dataframe_split": {"columns": list(frame), "data": frame.to_numpy().tolist()}},
        {"dataframe_records": json.loads(frame.to_json(orient="records"))},
        {"instances": [dict(spec.example)] * 2},
        {"instances": [codes(spec)] * 2},
        {"inputs": {name: [value] * 2 for name, value in spec.example.items()}},
        {"inputs": [codes(spec)] * 2, "params": {}},
    ]
    for body in forms:
        response = await client.post("/invocations", json=body, headers=headers)

        assert response.status_code == 200, (body, response.text)
        assert response.json() == predictions(spec, 2)
    text = StringIO()
    frame.to_csv(text, index=False)
    table = await client.post(
        "/invocations", content=text.getvalue(), headers={**headers, "content-type": "text/csv"}
    )

    assert table.json() == predictions(spec, 2)


async def test_a_frame_of_codes_is_read(client: httpx.AsyncClient) -> None:
    """As the published table has them, in whatever order of columns."""
    spec = MODELS["survival"]
    columns = list(reversed(spec.example))
    frame = {"columns": columns, "data": [list(reversed(codes(spec)))], "index": ["patient 1"]}
    response = await client.post(
        "/invocations", json={"dataframe_split": frame}, headers={"x-model": "survival"}
    )

    assert response.json() == predictions(spec)


class TestWhoAnswers:
    """A header of the request, else the setting."""

    async def test_a_header_names_the_model(self, registry: Registry) -> None:
        """And outranks the setting."""
        spec = MODELS["wine_type"]
        body, headers = {"instances": [dict(spec.example)]}, {"X-Model": "wine_type"}
        async with client_of(create_app(Settings(invocations_model="and_gate"), registry)) as client:
            response = await client.post("/invocations", json=body, headers=headers)

        assert response.json() == predictions(spec)

    async def test_the_setting_names_the_model(self, registry: Registry) -> None:
        """For clients that know of one model only, as MLflow's and SageMaker's do."""
        async with client_of(create_app(Settings(invocations_model="and_gate"), registry)) as client:
            assert (await client.post("/invocations", json=ONE)).json() == predictions(MODELS["and_gate"])

    async def test_without_either_it_is_said_what_to_set(self, client: httpx.AsyncClient) -> None:
        """One of five models cannot be guessed."""
        text = refused(await client.post("/invocations", json=ONE), 400, "BAD_REQUEST")

        assert "X-Model" in text
        assert "INVOCATIONS_MODEL" in text
        assert ", ".join(MODELS) in text

    async def test_an_unknown_model_is_not_found(self, client: httpx.AsyncClient) -> None:
        """The name is not repeated."""
        response = await client.post("/invocations", json=ONE, headers={"x-model": MARKER})

        assert "survival" in refused(response, 404, "RESOURCE_DOES_NOT_EXIST")
        assert MARKER not in response.text

    def test_the_setting_is_one_of_the_models(self) -> None:
        """A misspelt one ends the start, and is not repeated."""
        with pytest.raises(
            ValueError, match="give one of the models that are served: and_gate, survival"
        ) as refusal:
            Settings(invocations_model="horse")
        assert "horse" not in str(refusal.value.errors()[0]["msg"])  # type: ignore[attr-defined]


class TestHealth:
    """GET /ping and /health, and /version."""

    async def test_ping_is_readiness(self, client: httpx.AsyncClient) -> None:
        """200 and an empty line, as MLflow answers; HEAD as everywhere."""
        for path in ("/ping", "/health"):
            answer = await client.get(path)

            assert (answer.status_code, answer.text) == (200, "\n")
            assert answer.headers["content-type"].startswith("text/plain")
            assert (await client.head(path)).status_code == 200

    async def test_ping_is_refused_while_a_model_is_missing(self) -> None:
        """503, with the reasons, where MLflow answers 404."""
        async with client_of(create_app(Settings(), Registry(MODELS))) as client:
            for path in ("/ping", "/health"):
                refusal = await client.get(path)

                assert "survival" in refused(refusal, 503, "TEMPORARILY_UNAVAILABLE")
                assert refusal.headers["retry-after"]

    async def test_version_is_a_text(self, client: httpx.AsyncClient) -> None:
        """That of this service."""
        answer = await client.get("/version")

        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.text == __version__


class TestRefusals:
    """{"error_code", "message"}, and never a value."""

    @pytest.mark.parametrize(
        ("body", "why"),
        [
            ("", "not valid JSON"),
            ("[]", "not a JSON object"),
            ("{}", "exactly one of them"),
            ('{"instances": [[1, 1]], "inputs": [[1, 1]]}', "exactly one of them"),
            ('{"instances": [[1, 1]], "zqmarkerqz": 1}', "not defined"),
            ('{"instances": [[1, 1]], "params": {"zqmarkerqz": 1}}', "`params`"),
            ('{"instances": [[1, 1]], "params": []}', "`params`"),
            ('{"instances": [[1, 1]], "params": 0}', "`params`"),
            ('{"instances": [[1, NaN]]}', "not valid JSON"),
            ('{"dataframe_records": []}', "at least one row"),
            ('{"dataframe_records": {"x1": [1]}}', "at least one row"),
            ('{"dataframe_records": [[1, 1]]}', "no object"),
            ('{"dataframe_records": [{"x": [1, 1]}]}', "is not declared"),
            ('{"dataframe_records": [{"x1": 1, "x2": 2}]}', "#/dataframe_records/0/x2"),
            (
                '{"dataframe_records": [{"x1": 1, "x2": 1}, {"x1": 1}]}',
                "#/dataframe_records/1/x2: x2 is missing",
            ),
            (
                '{"dataframe_records": [{"x1": 1, "x2": 1}, {"x1": 1, "x2": 1, "zqmarkerqz": 1}]}',
                "not declared",
            ),
            ('{"dataframe_split": []}', '"columns"'),
            ('{"dataframe_split": {"columns": ["x1", "x2"]}}', '"columns"'),
            ('{"dataframe_split": {"columns": 1, "data": []}}', "no list of names"),
            ('{"dataframe_split": {"columns": [1, 2], "data": [[1, 1]]}}', "no list of names"),
            ('{"dataframe_split": {"columns": ["x1", "x1"], "data": [[1, 1]]}}', "the same name"),
            ('{"dataframe_split": {"columns": ["x1", "x2"], "data": [[1]]}}', "`data`"),
            ('{"dataframe_split": {"columns": ["x1", "x2"], "data": 1}}', "`data`"),
            ('{"dataframe_split": {"columns": ["x1", "x2"], "data": []}}', "at least one"),
            ('{"dataframe_split": {"columns": [], "data": [[]]}}', "x1 is missing"),
            ('{"dataframe_split": {"columns": ["x1"], "data": [[1]]}}', "x2 is missing"),
            (
                '{"dataframe_split": {"columns": ["x1", "x2", "zqmarkerqz"], "data": [[1, 1, 1]]}}',
                "not declared",
            ),
            ('{"dataframe_split": {"columns": ["x2", "x1"], "data": [[1, 1], [9, 1]]}}', "/data/1/0: x2"),
            ('{"dataframe_split": {"columns": ["x1", "x2"], "data": [[1, null]]}}', "x2 has the wrong type"),
        ],
    )
    async def test_what_cannot_be_read_is_a_bad_request(
        self, client: httpx.AsyncClient, body: str, why: str
    ) -> None:
        """400 too where a value breaks the declaration, as of MLflow's schema."""
        response = await client.post(
            "/invocations", content=body, headers={**GATE, "content-type": "application/json"}
        )

        assert why in refused(response, 400, "BAD_REQUEST")
        assert MARKER not in response.text

    @pytest.mark.parametrize(
        "media",
        [
            b"text/plain",
            b"",
            b"application/json; charset=latin-1",
            b"application/json; charset=\xff",
            b"application/json; charset*=%00''utf-8",
            b"application/x-www-form-urlencoded",
        ],
    )
    async def test_another_media_type_is_not_read(self, client: httpx.AsyncClient, media: bytes) -> None:
        """JSON and CSV in UTF-8 are."""
        response = await client.post(
            "/invocations",
            content=json.dumps(ONE),
            headers={name.encode(): value.encode() for name, value in GATE.items()}
            | {b"content-type": media},
        )

        refused(response, 415, "BAD_REQUEST")

    @pytest.mark.parametrize("path", ["/invocations", "/ping", "/health", "/version", "/ping%0A"])
    async def test_another_method_is_refused_in_the_same_words(
        self, client: httpx.AsyncClient, path: str
    ) -> None:
        """Of each path; the router lets one end in a line feed."""
        refused(await client.delete(path), 405, "BAD_REQUEST")

    async def test_a_table_is_judged_too(self, client: httpx.AsyncClient) -> None:
        """By the native dialect's reader."""
        response = await client.post(
            "/invocations", content="x1,x2\n1,7\n", headers={**GATE, "content-type": "text/csv"}
        )

        assert "x2 is outside" in refused(response, 400, "BAD_REQUEST")

    async def test_a_part_above_its_whole_is_refused(self, client: httpx.AsyncClient) -> None:
        """The declaration judges."""
        row = changed(MODELS["survival"], forced_expiratory_volume_1s=5)
        response = await client.post(
            "/invocations", json={"dataframe_records": [row]}, headers={"x-model": "survival"}
        )

        assert "is a part of" in refused(response, 400, "BAD_REQUEST")
