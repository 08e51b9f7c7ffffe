"""What TensorFlow Serving's dialect refuses, and how it says so."""

from typing import Any

import httpx
import pytest
from test_tensorflow_serving import codes, refused

from rows import changed
from servers import client_of
from service.app import create_app
from service.judge import MAX_VIOLATIONS
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings

pytestmark = pytest.mark.anyio

GATE = MODELS["and_gate"]
MARKER = "zqmarkerqz"


class TestRefusals:
    """{"error": text}, with the code of TensorFlow Serving's map, and never a value."""

    @pytest.mark.parametrize(
        ("body", "why"),
        [
            ("", "not valid JSON"),
            ("[]", "not a JSON object"),
            ('{"instances": [[1, 1]]} x', "trailing"),
            ('{"instances": [[1, NaN]]}', "not valid JSON"),
            ('{"instances": [[1, Infinity]]}', "not valid JSON"),
            ('{"instances": [[1, -Infinity]]}', "not valid JSON"),
            ('{"instances": [[1, 1e999]]}', "x2 is not a finite number"),
            ('{"instances": [[1, 1' + "0" * 400 + "]]}", "beyond float64"),
            ("{}", "exactly one of them"),
            ('{"instances": [[1, 1]], "inputs": [[1, 1]]}', "exactly one of them"),
            ('{"instances": [[1, 1]], "zqmarkerqz": 1}', "not defined"),
            ('{"instances": []}', "at least one row"),
            ('{"instances": {"x": [1, 1]}}', "at least one row"),
            ('{"instances": [1, 1]}', "not all lists or all objects"),
            ('{"instances": [[1, 1], {"x": [1, 1]}]}', "not all lists or all objects"),
            ('{"instances": [[1, 1], [1]]}', "not a list of 2 numbers"),
            ('{"instances": [[1, 1, 1]]}', "not a list of 2 numbers"),
            ('{"instances": [[[1, 1]]]}', "not a list of 2 numbers"),
            ('{"instances": [{"x": 1}]}', "not a list of 2 numbers"),
            ('{"instances": [{"x": [1, 1], "x1": 1}]}', "x2 is missing"),
            ('{"instances": [["1", 1]]}', "not a number"),
            ('{"instances": [[true, 1]]}', "not a number"),
            ('{"instances": [[null, 1]]}', "not a number"),
            ('{"instances": [[0.5, 1]]}', "x1 is not a whole number"),
            ('{"instances": [[2, 1]]}', "x1 is outside the physical range"),
            ('{"instances": [{"x1": 1}]}', "x2 is missing"),
            ('{"instances": [{"x1": 1, "x2": 1, "zqmarkerqz": 1}]}', "is not declared"),
            ('{"instances": [{"x1": 1, "x2": 1}, {"x1": 1}]}', "#/instances/1/x2"),
            ('{"instances": [{"x1": [1, 1], "x2": 1}]}', "x1 has the wrong type"),
            ('{"instances": [{"x1": true, "x2": 1}]}', "x1 has the wrong type"),
            ('{"instances": [{"x1": {"b64": "!"}, "x2": 1}]}', "x1 has the wrong type"),
            ('{"instances": [{"x": [1, 1]}, {"x1": 1, "x2": 1}]}', "is not declared"),
            ('{"inputs": 1}', "at least one row"),
            ('{"inputs": []}', "at least one row"),
            ('{"inputs": [1, 1]}', "not a list of 2 numbers"),
            ('{"inputs": {"x": [1, 1]}}', "not a list of 2 numbers"),
            ('{"inputs": {"x": [[1, 1]], "x1": [1]}}', "x2 is missing"),
            ('{"inputs": {"x1": 1, "x2": 1}}', "is no list"),
            ('{"inputs": {"x1": [1], "x2": [1, 1]}}', "differ in length"),
            ('{"inputs": {"x1": [1]}}', "x2 is missing"),
            ('{"inputs": {"x1": [1], "x2": [1], "zqmarkerqz": [1]}}', "is not declared"),
            ('{"inputs": {"x1": [], "x2": []}}', "at least one"),
            ('{"inputs": {"x1": [1, 0], "x2": [1, 9]}}', "#/inputs/x2/1"),
            ('{"instances": [[1, 1]], "signature_name": "zqmarkerqz"}', "serving_default"),
            ('{"instances": [[1, 1]], "signature_name": 1}', "serving_default"),
            ('{"instances": [[1, 1]], "signature_name": "explain"}', "/explain"),
        ],
    )
    async def test_what_is_no_request_is_an_invalid_argument(
        self, client: httpx.AsyncClient, body: str, why: str
    ) -> None:
        """400, and the text says where and what to do."""
        response = await client.post("/v1/models/and_gate:predict", content=body)

        assert why in refused(response)
        assert MARKER not in response.text

    @pytest.mark.parametrize(
        ("body", "why"),
        [
            ({}, '"examples"'),
            ({"examples": []}, '"examples"'),
            ({"examples": [[1, 1]]}, '"examples"'),
            ({"examples": [{"x1": 1, "x2": 1}], "context": []}, "context"),
            ({"examples": [{"x1": 1, "x2": 1}], "context": {"x1": 1}}, "both in"),
            ({"instances": [[1, 1]]}, "not defined"),
            ({"examples": [{"x1": 1, "x2": 3}]}, "#/examples/0/x2"),
        ],
    )
    async def test_examples_are_judged_too(
        self, client: httpx.AsyncClient, body: dict[str, Any], why: str
    ) -> None:
        """Of :classify, and the same reader is that of :regress."""
        assert why in refused(await client.post("/v1/models/and_gate:classify", json=body))

    async def test_a_part_above_its_whole_is_refused_in_every_form(self, client: httpx.AsyncClient) -> None:
        """The declaration judges, not the form."""
        spec = MODELS["survival"]
        row = changed(spec, forced_expiratory_volume_1s=5)
        forms: list[dict[str, Any]] = [
            {"instances": [row]},
            {"instances": [codes(spec, forced_expiratory_volume_1s=5)]},
            {"inputs": {name: [value] for name, value in row.items()}},
        ]
        for body in forms:
            text = refused(await client.post("/v1/models/survival:predict", json=body))

            assert "forced_expiratory_volume_1s is a part of" in text

    @pytest.mark.parametrize(
        "level", [{"b64": "REdOMg==", "zqmarkerqz": 1}, {"b64": "REdOMg"}, {"b64": "!REdOMg=="}, ["DGN2"] * 2]
    )
    async def test_what_wraps_a_level_otherwise_is_refused(
        self, client: httpx.AsyncClient, level: Any
    ) -> None:
        """A text is bare, alone in a list, or alone under `b64` in whole base64."""
        row = changed(MODELS["survival"], diagnosis=level)

        text = refused(await client.post("/v1/models/survival:predict", json={"instances": [row]}))

        assert text.startswith("#/instances/0/diagnosis: diagnosis is not one of its levels")
        assert MARKER not in text

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/v1/models/and_gate:zqmarkerqz"),
            ("POST", "/v1/models/and_gate"),
            ("GET", "/v1/models/and_gate:predict"),
            ("PUT", "/v1/models/and_gate:predict"),
            ("PATCH", "/v1/models/and_gate:predict"),
            ("DELETE", "/v1/models/and_gate"),
            ("OPTIONS", "/v1/models/and_gate:predict"),
            ("TRACE", "/v1/models/and_gate"),
            ("POST", "/v1/models/and_gate/versions/1/labels/stable:predict"),
            ("GET", "/v1/models/and_gate/zqmarkerqz"),
            ("GET", "/v1/models"),
            ("POST", "/v1/models/"),
            ("POST", "/v1/models/and_gate:predict:predict"),
            ("POST", "/v1/models/and_gate:zqmarkerqz:regress"),
        ],
    )
    async def test_another_path_is_a_malformed_request(
        self, client: httpx.AsyncClient, method: str, path: str
    ) -> None:
        """As TensorFlow Serving says, but without the path."""
        response = await client.request(method, path)

        assert refused(response).startswith("Malformed request")
        assert MARKER not in response.text

    @pytest.mark.parametrize(
        "path",
        [
            "zqmarkerqz",
            "and%0A_gate",
            "and_gate/versions/99",
            "and_gate/labels/zqmarkerqz",
            "and_gate/versions/0",
        ],
    )
    async def test_what_is_not_there_is_not_found(self, client: httpx.AsyncClient, path: str) -> None:
        """Model, version or label, of whatever is asked; the name is not repeated."""
        for response in (
            await client.get(f"/v1/models/{path}"),
            await client.get(f"/v1/models/{path}/metadata"),
            await client.post(f"/v1/models/{path}:predict", json={"instances": [[1, 1]]}),
        ):
            refused(response, 404)
            assert MARKER not in response.text

    async def test_too_many_bytes_rows_or_places(self, client: httpx.AsyncClient, registry: Registry) -> None:
        """413 has no code in TensorFlow Serving's map; places are cut off as everywhere."""
        rows = b'{"instances": [' + b",".join([b"[1,1]"] * 100_001) + b"]}"
        wrong = {"inputs": {"x1": [1] * 1000, "x2": [2] * 1000}}
        async with client_of(create_app(Settings(max_body_bytes=100), registry)) as small:
            refused(await small.post("/v1/models/and_gate:predict", content=b" " * 101), 413)
        refused(await client.post("/v1/models/and_gate:predict", content=rows), 413)
        text = refused(await client.post("/v1/models/and_gate:predict", json=wrong))

        assert len(text.splitlines()) == MAX_VIOLATIONS
