"""What the Open Inference Protocol's infer refuses, and how."""

import json
import math
from typing import Any

import httpx
import numpy as np
import pytest

from infer_requests import BYTES, INFER, LENGTH, ROWS, binary, column, gate, raw
from service.dialects.open_inference import tensors
from service.models import MODELS

pytestmark = pytest.mark.anyio

SURVIVAL = MODELS["survival"]
# The gate's x2 as a column of lists.
NESTED = {"name": "x2", "shape": [2, 1], "datatype": "INT8", "data": [[1], [7]]}
CLASSIFIED = {"name": "probability", "parameters": {"classification": 1}}
AS_ONE = {"name": "probability", "parameters": {"binary_data": 1}}
NAN = np.array([[1, 0], [1, np.nan]], "<f4").tobytes()


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
