"""The Open Inference Protocol: what is answered, what is refused, and how."""

import json
import math
from typing import Any

import httpx
import numpy as np
import pytest

from mean_servable import MeanServable
from servers import client_of
from service.app import create_app
from service.dialects.open_inference import tensors
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings

pytestmark = pytest.mark.anyio

GATE, SURVIVAL, WINE = MODELS["and_gate"], MODELS["survival"], MODELS["wine_grade"]
INFER = "/v2/models/and_gate/infer"
LENGTH = "inference-header-content-length"
# Both as (2, 2).
ROWS = [[1, 0], [1, 1]]
BYTES = np.array(ROWS, "<f4").tobytes()
# The gate's x2 as a column of lists.
NESTED = {"name": "x2", "shape": [2, 1], "datatype": "INT8", "data": [[1], [7]]}
CLASSIFIED = {"name": "probability", "parameters": {"classification": 1}}
AS_ONE = {"name": "probability", "parameters": {"binary_data": 1}}
NAN = np.array([[1, 0], [1, np.nan]], "<f4").tobytes()


def gate(**changes: Any) -> dict[str, Any]:
    """The gate's two rows as the matrix, with some fields changed."""
    return {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": ROWS} | changes


def column(name: str, *values: int) -> dict[str, Any]:
    """One feature of rows."""
    return {"name": name, "shape": [len(values)], "datatype": "INT8", "data": list(values)}


def binary(*inputs: dict[str, Any], tail: bytes = BYTES, length: int | None = None, **fields: Any) -> Any:
    """A request whose tensors stand behind its JSON."""
    head = json.dumps({"inputs": list(inputs)} | fields).encode()
    headers = {LENGTH: str(len(head) if length is None else length)}
    return {"content": head + tail, "headers": headers}


def raw(size: int = len(BYTES), **changes: Any) -> dict[str, Any]:
    """The same as `gate`, in so many bytes."""
    described = gate(parameters={"binary_data_size": size}) | changes
    return {name: value for name, value in described.items() if name != "data" or "data" in changes}


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2/health/live", "/v2/models/survival"])
async def test_what_is_read_needs_no_redirect(client: httpx.AsyncClient, path: str) -> None:
    """The protocol's two documents disagree on the slash; probes ask with HEAD."""
    assert (await client.get(path)).status_code == (await client.head(path)).status_code == 200


@pytest.mark.parametrize(
    ("request_", "status", "told"),
    [
        ({"content": b"{"}, 400, "not valid JSON"),
        ({"content": b""}, 400, "not valid JSON"),
        ({"json": []}, 400, "The body is not"),
        ({"json": {}}, 400, "#/inputs"),
        ({"json": {"inputs": []}}, 400, "#/inputs"),
        ({"json": {"inputs": [7] * 5000}}, 400, "#/inputs"),
        ({"json": {"inputs": [gate(shape=[2, 2, 1])]}}, 400, "#/inputs/0/shape"),
        ({"json": {"inputs": [gate(shape=[-2, 2])]}}, 400, "#/inputs/0/shape/0"),
        ({"json": {"inputs": [gate(shape=[True, 2])]}}, 400, "#/inputs/0/shape/0"),
        ({"json": {"inputs": [gate(shape=[10**30, 10**30])]}}, 400, "as its shape says"),
        ({"json": {"inputs": [gate(shape=[0, 10**30], data=[])]}}, 400, "larger than any memory"),
        ({"json": {"inputs": [gate(shape=[2**62, 0], data=[])]}}, 400, "larger than any memory"),
        ({"json": {"inputs": [gate(shape=[0, 2**62], data=[], datatype="BYTES")]}}, 400, "not of numbers"),
        ({"json": {"inputs": [gate(shape=[4])]}}, 400, "as its shape says"),
        ({"json": {"inputs": [gate(shape=[4], data=[1, 0, 1, 1])]}}, 400, "(rows, 2)"),
        ({"json": {"inputs": [gate(shape=[1, 4], data=[1, 0, 1, 1])]}}, 400, "(rows, 2)"),
        ({"json": {"inputs": [gate(data=[[1, 0, 1], [1]])]}}, 400, "as its shape says"),
        ({"json": {"inputs": [gate(data=[[1, 0], 1, 1])]}}, 400, "as its shape says"),
        ({"json": {"inputs": [gate(data=[[[1], 0], [1, 1]])]}}, 400, "not of its datatype"),
        ({"json": {"inputs": [gate(data={"0": 1})]}}, 400, "as its shape says"),
        ({"json": {"inputs": [gate(data=7)]}}, 400, "as its shape says"),
        ({"json": {"inputs": [gate(data=[[1, 0], 7])]}}, 400, "as its shape says"),
        ({"json": {"inputs": [gate(name="x1", data="11", shape=[2], datatype="INT8")]}}, 400, "no list"),
        ({"json": {"inputs": [gate(name="x1", data=["1"], shape=[1], datatype="BYTES")]}}, 400, "no levels"),
        ({"json": {"inputs": [gate(data=None)]}}, 400, "or neither"),
        ({"json": {"inputs": [gate(data=[[1, 0], [1, True]])]}}, 400, "not of its datatype"),
        ({"json": {"inputs": [gate(data=[[1, 0], [1, None]])]}}, 400, "not of its datatype"),
        ({"json": {"inputs": [gate(data=[[1, 0], [1, "1"]])]}}, 400, "not of its datatype"),
        ({"json": {"inputs": [gate(datatype="INT8", data=[[1, 0], [1, 1.0]])]}}, 400, "not of its datatype"),
        ({"json": {"inputs": [gate(datatype="INT8", data=[[1, 0], [1, 300]])]}}, 400, "beyond what"),
        ({"json": {"inputs": [gate(datatype="UINT8", data=[[1, 0], [1, -1]])]}}, 400, "beyond what"),
        ({"json": {"inputs": [gate(data=[[1, 0], [1, 10**400]])]}}, 400, "beyond what"),
        ({"json": {"inputs": [gate(datatype="FP16")]}}, 400, "none of BOOL"),
        ({"json": {"inputs": [gate(datatype="BOOL", data=[[True, False]] * 2)]}}, 400, "not of numbers"),
        ({"json": {"inputs": [gate(datatype="BYTES", data=[["1", "0"]] * 2)]}}, 400, "not of numbers"),
        ({"json": {"inputs": [gate(), gate()]}}, 400, "same name"),
        ({"json": {"inputs": [gate(), gate(name="x1")]}}, 400, "alone"),
        ({"json": {"inputs": [gate(name="x1"), gate(name="x2")]}}, 400, "(rows, 1)"),
        ({"json": {"inputs": [gate()], "outputs": [{"name": "horse"}]}}, 400, "`outputs`"),
        ({"json": {"inputs": [gate()], "outputs": [{"name": "probability"}] * 2}}, 400, "`outputs`"),
        ({"json": {"inputs": [gate()], "parameters": {"binary_data_output": 1}}}, 400, "true or false"),
        ({"json": {"inputs": [gate()], "outputs": [AS_ONE]}}, 400, "true or false"),
        ({"json": {"inputs": [gate()], "parameters": {"sequence_id": 1}}}, 400, "not supported"),
        ({"json": {"inputs": [gate(parameters={"shared_memory_region": "a"})]}}, 400, "not supported"),
        ({"json": {"inputs": [gate()], "outputs": [CLASSIFIED]}}, 400, "not supported"),
        ({"json": {"inputs": [gate(shape=[0, 2], data=[])]}}, 422, "no rows"),
        ({"json": {"inputs": [gate(data=[[1, 0], [1, 7]])]}}, 422, "#/inputs/0/data/1/1: x2 is outside"),
        ({"content": json.dumps({"inputs": [gate(data=[1, 0, 1, math.nan])]})}, 422, "not a finite number"),
        ({"json": {"inputs": [gate(data=[[1, 0], [1, 1e300]])]}}, 400, "#/inputs/0: A value of a"),
        ({"json": {"inputs": [gate(data=[1, 0, 1, 7])]}}, 422, "#/inputs/0/data/3: x2 is outside"),
        ({"json": {"inputs": [gate(name="x1", shape=[2], data=[1, 0])]}}, 422, "#/inputs: x2 is missing"),
        ({"json": {"inputs": [column("x1", 1, 0), column("x2", 1, None)]}}, 400, "#/inputs/1: A value"),
        ({"json": {"inputs": [column("x1", 1, 0), NESTED]}}, 422, "#/inputs/1/data/1/0: x2 is outside"),
        ({"json": {"inputs": [gate()] * 1001}}, 400, "look at #/inputs"),
        ({"json": {"inputs": [gate()], "outputs": [{"name": "probability"}] * 1001}}, 400, "#/outputs"),
        ({"json": {"inputs": [column("x1", 1, 0), column("x2", 1, 7)]}}, 422, "#/inputs/1/data/1: x2 is"),
        ({"json": {"inputs": [gate(name="horse")]}}, 422, "send `x`, (rows, 2), or all of x1, x2."),
        ({"json": {"inputs": [column("x1", 1), column("horse", 1)]}}, 422, "#/inputs: Field 2 of the row"),
        (binary(raw(), tail=BYTES[:-1]), 400, "binary_data_size together"),
        (binary(raw(), tail=BYTES + b"0"), 400, "binary_data_size together"),
        (binary(raw(), length=10**6), 400, "number of bytes of JSON"),
        (binary(raw(), length=-1), 400, "number of bytes of JSON"),
        ({"content": BYTES, "headers": {LENGTH: "9" * 5000}}, 400, "number of bytes of JSON"),
        (binary(raw(), length=7), 400, "not valid JSON"),
        (binary(raw(shape=[3, 2])), 400, "4 each"),
        (binary(raw(datatype="FP64")), 400, "8 each"),
        (binary(raw(shape=[2**40, 2**40])), 400, "4 each"),
        (binary(raw(size=0, shape=[0, 10**30]), tail=b""), 400, "larger than any memory"),
        (binary(raw(size=0, shape=[2**62, 0]), tail=b""), 400, "larger than any memory"),
        (binary(raw(size=0, shape=[0, 2**62], datatype="BYTES"), tail=b""), 400, "not of numbers"),
        (binary(raw(size=-16)), 400, "no number of bytes"),
        (binary(raw(parameters={"binary_data_size": True})), 400, "no number of bytes"),
        (binary(raw(data=ROWS)), 400, "or neither"),
        (binary(raw(), tail=NAN), 422, "not a finite number"),
        (binary(raw(size=4, name="x1", shape=[4], datatype="BOOL"), tail=b"\0\1\2\1"), 400, "nor 1"),
        ({"content": BYTES[:-1], "headers": {LENGTH: "0"}}, 400, "4 each"),
        ({"content": b"", "headers": {LENGTH: "0"}}, 422, "no rows"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_refused_in_one_string(
    client: httpx.AsyncClient, request_: dict[str, Any], status: int, told: str
) -> None:
    """Wrong JSON, shapes, datatypes, sizes, names and values, in the protocol's envelope, without a value."""
    answer = await client.post(INFER, **request_)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    assert told in answer.json()["error"]
    assert "horse" not in answer.text


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


@pytest.mark.parametrize(
    ("rows", "tail", "status", "told"),
    [
        (4, b"\0\0\0\0", 400, "not as many texts"),
        (1, b"\1\0\0\0", 400, "not as many texts"),
        (2, b"", 400, "not as many texts"),
        (1, b"\1\0\0\0ab", 400, "not as many texts"),
        (2**60, b"\0\0\0\0", 400, "not as many texts"),
        (100_001, b"\0" * 400_004, 413, "at most 100,000 rows"),
    ],
)
async def test_bytes_are_as_many_texts_as_the_shape_says(
    client: httpx.AsyncClient, rows: int, tail: bytes, status: int, told: str
) -> None:
    """Each after its length; of empty ones there may be no more than rows."""
    texts = raw(size=len(tail), name="diagnosis", shape=[rows], datatype="BYTES")
    answer = await client.post("/v2/models/survival/infer", **binary(texts, tail=tail))

    assert answer.status_code == status
    assert told in answer.json()["error"]


async def test_names_are_compared_before_bytes_are_read(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty inputs of 100,000 texts took eight seconds and half a gigabyte before."""
    monkeypatch.setattr(tensors, "of_bytes", lambda *_: pytest.fail("bytes were read"))
    many = [raw(size=400_000, name=f"n{place}", shape=[100_000], datatype="BYTES") for place in range(60)]
    answer = await client.post("/v2/models/survival/infer", **binary(*many, tail=bytes(24_000_000)))

    assert answer.status_code == 422
    assert "The row has 60 fields, the declaration 16" in answer.json()["error"]


@pytest.mark.parametrize(("level", "status"), [(b"DGN2", 200), (b"DG\xffN2", 422), (b"horse", 422)])
async def test_bytes_are_the_name_of_a_level_or_refused(
    client: httpx.AsyncClient, level: bytes, status: int
) -> None:
    """Nothing is left out of what is no UTF-8."""
    codes = {one.name: one.code(SURVIVAL.example[one.name]) for one in SURVIVAL.features}
    inputs = [
        {"name": name, "shape": [1], "datatype": "FP64", "data": [code]} for name, code in codes.items()
    ]
    text = len(level).to_bytes(4, "little") + level
    inputs[0] = raw(size=len(text), name="diagnosis", shape=[1], datatype="BYTES")
    answer = await client.post("/v2/models/survival/infer", **binary(*inputs, tail=text))

    assert answer.status_code == status
    if status == 422:
        assert answer.json()["error"].startswith("#/inputs/0/data/0: diagnosis is not one of its levels")


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
