"""How deep a body nests and how much it holds is told before it is parsed: random JSON, and what is none."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servers import client_of
from service.actions import actions
from service.app import create_app
from service.errors import MalformedBody
from service.extent import DEPTH, PIECE, shallow, values
from service.models import MODELS
from service.protocol import MAX_ROWS
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec

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


def held(document: Any) -> int:
    """How many lists and objects there are, and how many values beside the first in each, by walking."""
    if not isinstance(document, list | dict):
        return 0
    inner = document.values() if isinstance(document, dict) else document
    return 1 + max(len(document) - 1, 0) + sum(map(held, inner))


@given(
    document=st.recursive(
        st.none() | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
        max_leaves=20,
    )
)
def test_what_json_holds_is_what_the_document_holds(document: Any) -> None:
    """Lists, objects, and what follows a comma, however far it is from the first."""
    text = json.dumps(document).encode()

    assert values(text) == held(document)
    assert values(b" " * PIECE + text) == held(document)


@pytest.mark.parametrize("spec", MODELS.values(), ids=MODELS)
def test_as_many_rows_as_may_be_are_never_too_many_values(spec: ModelSpec) -> None:
    """Even where each value is a list of its own, as tensors of shape (n, 1) are written, with targets."""
    judge = actions(spec)[2].judge
    row = json.dumps({name: [value] for name, value in spec.example.items()}).encode()
    text = (
        b'{"instances": ['
        + row
        + (b"," + row) * (MAX_ROWS - 1)
        + b'], "targets": [1'
        + b",1" * MAX_ROWS
        + b"]}"
    )

    assert judge.bounded(text) == text


@pytest.mark.parametrize(
    "path",
    [
        *(f"/models/and_gate/{action}" for action in ("predict", "what-if", "evaluate", "explain")),
        "/v1/models/and_gate:predict", "/v2/models/and_gate/infer", "/invocations",
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", ["{}", "[]", "1"])
@pytest.mark.anyio
async def test_more_values_than_rows_can_have_are_refused_unparsed(
    registry: Registry, path: str, value: str
) -> None:
    """Three megabytes, which would be objects of a hundred."""
    body = '{"instances": [' + ",".join([value] * 1_300_000) + "]}"
    async with client_of(create_app(Settings(invocations_model="and_gate"), registry)) as client:
        response = await client.post(path, content=body, headers=JSON)

    assert response.status_code == 413
    assert "at most 100,000 rows" in response.text


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
