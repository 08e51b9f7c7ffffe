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
from service.extent import DEPTH, FIELDS, PIECE, shallow, values
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
    assert "more values than 100,000 rows can have" in response.text


WIDE = "{" + ",".join(f'"k{number}":0' for number in range(FIELDS + 1)) + "}"


@pytest.mark.parametrize("far", [0, 70_000], ids=["small", "large"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        *((f"/models/survival/{action}", body) for action in ("predict", "what-if", "evaluate", "explain")
          for body in ('{"instances": [WIDE]}', "WIDE", '{"instances": [ROW], "parameters": WIDE}')),
        ("/models/survival/evaluate", '{"instances": [WIDE], "targets": 5}'),
        ("/models/survival/evaluate", '{"instances": [WIDE], "targets": ["horse"]}'),
        ("/models/survival/evaluate", '{"instances": [ROW], "targets": [WIDE]}'),
        ("/v1/models/survival:predict", '{"instances": [WIDE]}'),
        ("/v1/models/survival:predict", '{"instances": [ROW, WIDE]}'),
        ("/v1/models/survival:predict", '{"inputs": WIDE}'),
        ("/v1/models/survival:classify", '{"examples": [WIDE]}'),
        ("/v1/models/survival:classify", '{"examples": [{}], "context": WIDE}'),
        ("/v2/models/survival/infer", '{"inputs": [WIDE]}'),
        ("/v2/models/survival/infer", '{"inputs": [], "parameters": WIDE}'),
        ("/invocations", '{"dataframe_records": [WIDE]}'),
    ],
)  # fmt: skip
@pytest.mark.anyio
async def test_an_object_of_a_thousand_fields_is_refused_as_a_whole(
    registry: Registry, path: str, body: str, far: int
) -> None:
    """Whatever else is wrong, and where it stands; also in bodies that are read by columns."""
    row = json.dumps(dict(MODELS["survival"].example))
    text = body.replace("WIDE", WIDE).replace("ROW", row) + " " * far
    async with client_of(create_app(Settings(invocations_model="survival"), registry)) as client:
        response = await client.post(path, content=text, headers=JSON)

    assert response.status_code == 400
    assert "more than 1,000 fields" in response.text


@pytest.mark.parametrize("body", [
    '{"context": {"x1": 1}, "examples": [' + "{}," * MAX_ROWS + '{"x1": 1}]}',
    '{"instances": [' + "[1,1]," * MAX_ROWS + "1]}",
])  # fmt: skip
@pytest.mark.anyio
async def test_too_many_rows_are_refused_before_they_are_looked_at(registry: Registry, body: str) -> None:
    """The last one is wrong, which is not seen: no example is joined with the context, no row compared."""
    action = "classify" if "examples" in body else "predict"
    async with client_of(create_app(Settings(), registry)) as client:
        response = await client.post(f"/v1/models/and_gate:{action}", content=body, headers=JSON)

    assert response.status_code == 413


@pytest.mark.anyio
async def test_a_context_wider_than_the_declaration_is_not_copied_into_each_example(
    registry: Registry,
) -> None:
    """It has three fields, of which one is not declared whatever they are."""
    body = '{"examples": [{}], "context": {"x1": 1, "x2": 1, "x3": 1}}'
    async with client_of(create_app(Settings(), registry)) as client:
        response = await client.post("/v1/models/and_gate:classify", content=body, headers=JSON)

    assert response.status_code == 400
    assert "more fields than the declaration" in response.text


@pytest.mark.parametrize("value", ["9" * 400, "-" + "9" * 400])
@pytest.mark.parametrize("feature", ["asthma", "diagnosis", "age"])
@pytest.mark.anyio
async def test_a_whole_number_beyond_any_is_refused_where_it_stands(
    registry: Registry, feature: str, value: str
) -> None:
    """Of a flag or a level too, which have codes."""
    row = dict(MODELS["survival"].example) | {feature: 0}
    body = json.dumps({"instances": [row]}).replace(f'"{feature}": 0', f'"{feature}": {value}')
    async with client_of(create_app(Settings(), registry)) as client:
        for path in ("/v1/models/survival:predict", "/models/survival/predict"):
            response = await client.post(path, content=body, headers=JSON)

            assert response.status_code == (422 if path.endswith("/predict") else 400)
            assert f"#/instances/0/{feature}" in response.text


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
