"""The Open Inference Protocol: what is answered, and how; `test_open_inference_refusals` has the rest."""

import json

import httpx
import numpy as np
import pytest

from infer_requests import BYTES, INFER, LENGTH, binary, gate, raw
from mean_servable import MeanServable
from servers import client_of
from service.app import create_app
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings

pytestmark = pytest.mark.anyio

GATE = MODELS["and_gate"]


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2/health/live", "/v2/models/survival"])
async def test_what_is_read_needs_no_redirect(client: httpx.AsyncClient, path: str) -> None:
    """The protocol's two documents disagree on the slash; probes ask with HEAD."""
    assert (await client.get(path)).status_code == (await client.head(path)).status_code == 200


@pytest.mark.parametrize("size", [0, None])
async def test_the_matrix_may_be_the_whole_body(client: httpx.AsyncClient, size: int | None) -> None:
    """With 0 for the bytes of JSON, as of Triton's raw requests: answered in bytes."""
    whole = await client.post(INFER, content=BYTES, headers={LENGTH: "0"})
    usual = await client.post(INFER, **binary(raw(), parameters={"binary_data_output": True}))

    assert whole.status_code == 200
    assert whole.content == usual.content
    assert whole.headers["content-type"] == "application/octet-stream"


async def test_tensors_of_json_and_of_bytes_stand_side_by_side(client: httpx.AsyncClient) -> None:
    """Bytes are taken in the order of the inputs that have them; one output each way."""
    inputs = [
        {"name": "x2", "shape": [2], "datatype": "UINT8", "parameters": {"binary_data_size": 2}},
        {"name": "x1", "shape": [2, 1], "datatype": "INT64", "data": [[1], [1]]},
    ]
    outputs = [
        {"name": "probability", "parameters": {"binary_data": True}},
        {"name": "distance_percentile", "parameters": {"binary_data": False}},
    ]
    every = {"binary_data_output": True}
    mixed = await client.post(INFER, **binary(*inputs, tail=b"\0\1", outputs=outputs, parameters=every))
    usual = (await client.post(INFER, json={"inputs": [gate()]})).json()["outputs"]

    size = int(mixed.headers[LENGTH])
    found = json.loads(mixed.content[:size])["outputs"]
    assert found[1] == usual[1]
    assert np.frombuffer(mixed.content[size:], "<f4").tolist() == usual[0]["data"]


async def test_outputs_come_in_the_order_in_which_they_are_asked_for(client: httpx.AsyncClient) -> None:
    """As JSON and as bytes: not in that of the graph, which has the probability first."""
    asked = ["distance_percentile", "probability"]
    outputs = [{"name": name} for name in asked]
    usual = {
        one["name"]: one["data"]
        for one in (await client.post(INFER, json={"inputs": [gate()]})).json()["outputs"]
    }
    plain = await client.post(INFER, json={"inputs": [gate()], "outputs": outputs})
    packed = await client.post(
        INFER, json={"inputs": [gate()], "outputs": outputs, "parameters": {"binary_data_output": True}}
    )

    assert [one["name"] for one in plain.json()["outputs"]] == asked != list(usual)
    tail = np.frombuffer(packed.content[int(packed.headers[LENGTH]) :], "<f4").tolist()
    assert tail == [*usual["distance_percentile"], *usual["probability"]]


async def test_what_is_null_is_left_out(client: httpx.AsyncClient) -> None:
    """As clients write it whose classes have these fields."""
    nulls = {"id": None, "parameters": None, "outputs": None}
    answer = await client.post(INFER, json={"inputs": [gate(parameters=None)]} | nulls)

    assert answer.json() == (await client.post(INFER, json={"inputs": [gate()]})).json()


@pytest.mark.parametrize("padded", ["{} ", "{}\t", " {}"])
async def test_spaces_around_the_value_of_a_header_are_no_part_of_it(
    client: httpx.AsyncClient, padded: str
) -> None:
    """RFC 9110, section 5.5."""
    request = binary(raw())
    request["headers"][LENGTH] = padded.format(request["headers"][LENGTH])

    assert (await client.post(INFER, **request)).status_code == 200


async def test_of_two_lengths_nobody_knows_which_is_meant(client: httpx.AsyncClient) -> None:
    """Twice the same says one thing, two values none."""
    request = binary(raw())
    length = request["headers"][LENGTH]
    same = await client.post(INFER, content=request["content"], headers=[(LENGTH, length)] * 2)
    other = await client.post(INFER, content=request["content"], headers=[(LENGTH, "0"), (LENGTH, length)])

    assert (same.status_code, other.status_code) == (200, 400)
    assert "Inference-Header-Content-Length stands there twice" in other.json()["error"]


async def test_an_output_comes_as_all_do_unless_it_says_otherwise(client: httpx.AsyncClient) -> None:
    """`binary_data_output` is of all of them, also of those that are named."""
    fields = {"outputs": [{"name": "probability"}], "parameters": {"binary_data_output": True}}
    answer = await client.post(INFER, json={"inputs": [gate()]} | fields)

    described = json.loads(answer.content[: int(answer.headers[LENGTH])])["outputs"]
    assert described == [
        {"name": "probability", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
    ]


async def test_an_answer_without_bytes_is_json(client: httpx.AsyncClient) -> None:
    """All of it, as its header says; no other one says where it ends."""
    answer = await client.post(INFER, json={"inputs": [gate()]})

    assert answer.headers["content-type"] == "application/json"
    assert LENGTH not in answer.headers


async def test_an_answer_without_an_id_has_none(client: httpx.AsyncClient) -> None:
    """It is echoed where it was given."""
    for given, expected in (({}, None), ({"id": ""}, ""), ({"id": "ä"}, "ä"), ({"id": None}, None)):
        answer = (await client.post(INFER, json={"inputs": [gate()]} | given)).json()
        assert answer.get("id") == expected
        assert ("id" in answer) == (expected is not None)


async def test_the_index_lists_what_is_served_and_why_others_are_not(registry: Registry) -> None:
    """Rejected versions with their reason, unless only those that are ready are asked for."""
    own = Registry(MODELS)
    own.add(MeanServable(GATE))
    own.rejected["and_gate"][2] = "it is broken"
    async with client_of(create_app(Settings(), own)) as client:
        every = (await client.post("/v2/repository/index")).json()
        ready = (await client.post("/v2/repository/index", json={"ready": True})).json()
        wrong = await client.post("/v2/repository/index", json={"ready": "true"})
        # To parse it would hold up everybody else.
        large = await client.post("/v2/repository/index", content=b'{"ready": true}' + b" " * 2**16)

    served = {"name": "and_gate", "version": "1", "state": "READY", "reason": ""}
    assert every == [
        served, {"name": "and_gate", "version": "2", "state": "UNAVAILABLE", "reason": "it is broken"}
    ]  # fmt: skip
    assert ready == [served]
    assert (wrong.status_code, large.status_code) == (400, 400)


def test_bytes_stand_in_the_document_too() -> None:
    """As a body, as an answer, and the header that says where they begin."""
    infer = create_app(Settings()).api.openapi()["paths"]["/v2/models/{model}/infer"]["post"]
    media = {"application/json", "application/octet-stream"}

    assert infer["requestBody"]["content"].keys() == infer["responses"]["200"]["content"].keys() == media
    assert "Inference-Header-Content-Length" in infer["responses"]["200"]["headers"]
    assert [one["name"] for one in infer["parameters"]] == ["model", "Inference-Header-Content-Length"]


@pytest.mark.parametrize("path", ["horse", "ho%0Arse", "and_gate/versions/99", "and_gate/versions/0"])
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    """A model or a version, whatever is asked of it; its name is not repeated."""
    for answer in (
        await client.get(f"/v2/models/{path}"),
        await client.get(f"/v2/models/{path}/ready"),
        await client.post(f"/v2/models/{path}/infer", json={"inputs": [gate()]}),
    ):
        assert answer.status_code == 404
        assert answer.json().keys() == {"error"}
        assert "horse" not in answer.text


async def test_a_version_that_is_named_answers() -> None:
    """And says that it did; without a name the newest one does."""
    own = Registry(MODELS)
    for version in (2, 10):
        own.add(MeanServable(GATE, version))
    async with client_of(create_app(Settings(), own)) as client:
        found = {}
        for below in ("", "/versions/2", "/versions/10"):
            answer = await client.post(f"/v2/models/and_gate{below}/infer", json={"inputs": [gate()]})
            found[below] = answer.json()["model_version"]
            metadata = (await client.get(f"/v2/models/and_gate{below}")).json()
            assert metadata["versions"] == ["10", "2"]

        whole = {"content": BYTES, "headers": {LENGTH: "0"}}
        as_bytes = await client.post("/v2/models/and_gate/versions/2/infer", **whole)

    assert found == {"": "10", "/versions/2": "2", "/versions/10": "10"}
    assert as_bytes.headers["content-type"] == "application/octet-stream"
    assert json.loads(as_bytes.content[: int(as_bytes.headers[LENGTH])])["model_version"] == "2"
