"""How deep a body nests is told before it is parsed: random JSON, and what is none."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers import client_of
from service.app import create_app
from service.depth import DEPTH, PIECE, shallow
from service.errors import MalformedBody
from service.registry import Registry
from service.settings import Settings

TEXTS = st.text(st.sampled_from([*'[]{}"\\,: aé\n']), max_size=6)
JSON = {"content-type": "application/json"}


def deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists and objects of these."""
    return st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)


def levels(document: Any) -> int:
    """How deep a document nests, by walking through it."""
    if not isinstance(document, list | dict):
        return 0
    inner = document.values() if isinstance(document, dict) else document
    return 1 + max(map(levels, inner), default=0)


def is_shallow(text: bytes, most: int) -> bool:
    """Whether a text is let through."""
    try:
        return shallow(text, most) == text
    except MalformedBody:
        return False


@given(document=st.recursive(TEXTS | st.integers(), deeper, max_leaves=20), spaced=st.booleans())
def test_the_depth_of_json_is_that_of_the_document(document: Any, spaced: bool) -> None:
    """Whatever brackets, quotes and escapes stand in its strings."""
    text = json.dumps(document, indent=1 if spaced else None, ensure_ascii=spaced).encode()
    most = levels(document)

    assert is_shallow(text, most)
    assert not is_shallow(text, most - 1)


@pytest.mark.parametrize("before", [b"[" + b"[]," * PIECE, b'["\\u005b",' + b"[]," * PIECE])
def test_a_nest_behind_many_rows_is_found(before: bytes) -> None:
    """What is open goes on from one piece to the next."""
    assert is_shallow(before + b"[" * 9 + b"]" * 10, 10)
    assert not is_shallow(before + b"[" * 10 + b"]" * 11, 10)


def test_a_string_without_an_end_goes_on_to_the_end_of_the_text() -> None:
    """Nothing in it opens anything; the parser refuses it."""
    assert is_shallow(b'"' + b'\\"' * 10**4 + b"[" * (DEPTH + 1), DEPTH)


@pytest.mark.parametrize(
    "text", [b"[]" * 10**6, b'["\\\\",' + b'"", ' * 10**6, b'\\"\\' * 10**6, b'"[",[],' * 10**6]
)
def test_memory_does_not_grow_with_the_marks(text: bytes) -> None:
    """Whatever a body is full of, it is copied at most twice: no object is made of what stands in it."""
    tracemalloc.start()
    is_shallow(text, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 3 * len(text)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/models/and_gate/predict", '{"instances": [{"x1": %s, "x2": 1}]}'),
        ("/models/and_gate/explain", '{"instances": [{"x1": %s, "x2": 1}]}'),
        ("/models/and_gate/what-if", '{"instances": [{"x1": 1, "x2": 1}], "parameters": {"feature": %s}}'),
        ("/models/and_gate/evaluate", '{"instances": [{"x1": 1, "x2": 1}], "targets": [%s]}'),
        ("/v1/models/and_gate:predict", '{"instances": [%s]}'),
        ("/v1/models/and_gate:classify", '{"examples": [{"x1": %s, "x2": 1}]}'),
        (
            "/v2/models/and_gate/infer",
            '{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": %s}]}',
        ),
        ("/v2/repository/index", '{"ready": %s}'),
        ("/vertex", '{"instances": [{"x1": %s, "x2": 1}]}'),
        ("/invocations", '{"inputs": {"x1": [%s], "x2": [1]}}'),
    ],
)
@pytest.mark.anyio
async def test_every_dialect_refuses_what_nests_deeper_than_the_setting(
    registry: Registry, path: str, body: str
) -> None:
    """With 400, in its own envelope; what is one level less deep is refused for what it is."""
    settings = Settings(max_json_depth=20, invocations_model="and_gate", aip_predict_route="/vertex")
    around = levels(json.loads(body % ("[" * 50 + "]" * 50))) - 50
    async with client_of(create_app(settings, registry)) as client:
        for nest, told in ((21 - around, True), (20 - around, False)):
            response = await client.post(path, content=body % ("[" * nest + "]" * nest), headers=JSON)

            assert 400 <= response.status_code < (401 if told else 500)
            assert ("nested more than 20 levels deep" in response.text) == told


def test_a_bound_beyond_the_parsers_is_no_setting() -> None:
    """It would promise what the parser refuses."""
    with pytest.raises(ValueError, match="less than or equal to 200"):
        Settings(max_json_depth=201)
