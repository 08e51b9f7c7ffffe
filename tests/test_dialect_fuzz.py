"""Bodies that no client of a dialect should send: no 5xx, and nothing of them in an answer or in the log."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_fuzz import MARKER, Lines, anything, mostly, service, text

from service.models import MODELS

pytestmark = pytest.mark.slow

__all__ = ["service"]  # the fixture
BODIES = 600
DTYPES = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "INT8": "i1", "BOOL": "?"}
# Below a model: versions and labels, of which the first is there.
VERSIONS = ["versions/5", "versions/0", "versions/007", "versions/²", f"versions/{MARKER}"]
LABELS = ["labels/stable", f"labels/{MARKER}"]
# What may stand behind a media type: some of it is what it should be.
PARAMETERS = [
    b"; charset=utf-8", b'; charset="UTF-8"', b"; charset=latin-1", b"; charset=\xff", b"; charset", b";;=",
    b"; charset*=%00''utf-8", b"; charset*=x''utf-8", b"; charset*0=utf-8", b"; charset*99999=", b"; *=''",
    MARKER.encode(),
]  # fmt: skip


class Post(NamedTuple):
    """A path with what is posted there."""

    path: str
    body: bytes
    headers: dict[str, bytes]


@st.composite
def tensors(draw: st.DrawFn, model: str) -> tuple[dict[str, Any], bytes]:
    """A tensor of the model, as JSON or as bytes, with some of its fields wrong; and its bytes."""
    spec = MODELS[model]
    count = draw(st.integers(0, 3))
    row = [feature.code(spec.example[feature.name]) for feature in spec.features]
    feature = draw(st.sampled_from(spec.features))
    name, shape, values = draw(
        st.sampled_from(
            [("x", [count, len(row)], row * count)] * 3
            + [(feature.name, [count], [feature.code(spec.example[feature.name])] * count)]
        )
    )
    datatype = draw(mostly(st.just("FP32"), st.sampled_from([*DTYPES, "BYTES"])))
    if datatype == "BYTES":
        texts = draw(
            st.lists(st.sampled_from([*feature.levels, MARKER]) | text, min_size=count, max_size=count)
        )
        data, raw = texts, b"".join(map(counted, texts))
    else:
        array = np.array(values).astype(DTYPES[datatype])
        data, raw = array.tolist(), array.tobytes()
    described: dict[str, Any] = {"name": name, "shape": shape, "datatype": datatype}
    if draw(st.booleans()):
        described["data"] = data
        tail = b""
    else:
        tail = draw(mostly(st.just(raw), st.binary(max_size=40)))
        described["parameters"] = {"binary_data_size": draw(mostly(st.just(len(tail)), st.integers(-1, 99)))}
    names = mostly(st.sampled_from([*described, "data", "parameters"]), text)
    wrong = st.dictionaries(names, mostly(st.lists(st.integers(0, 9), max_size=3), anything), max_size=2)
    return described | draw(mostly(st.just({}), wrong)), tail


def counted(text: str) -> bytes:
    """A text behind its length, as BYTES have it."""
    encoded = text.encode("utf-8", "surrogatepass")
    return len(encoded).to_bytes(4, "little") + encoded


@st.composite
def infers(draw: st.DrawFn) -> Post:
    """A request for inference, of JSON and of bytes."""
    model = draw(st.sampled_from(list(MODELS)))
    pairs = draw(st.lists(tensors(model), min_size=1, max_size=mostly_one(draw)))
    outputs = [{"name": output.name} for output in MODELS[model].outputs]
    document: dict[str, Any] = {"inputs": [described for described, _ in pairs]}
    fields = st.fixed_dictionaries(
        {},
        optional={
            "id": mostly(st.just("1"), anything.filter(lambda value: MARKER not in str(value))),
            "outputs": mostly(st.lists(st.sampled_from(outputs), max_size=3), anything),
            "parameters": mostly(st.just({"binary_data_output": True}), anything),
        },
    )
    extra = st.dictionaries(text.filter(lambda name: name != "id"), anything, max_size=1)
    document |= draw(fields) | draw(mostly(st.just({}), extra))
    head = draw(mostly(st.just(document), anything).map(json.dumps).map(str.encode))
    sizes = [b"0", b"-1", b"9" * 30, b"x", b"1_0", "²".encode("latin-1"), MARKER.encode()]
    size = draw(mostly(st.just(str(len(head)).encode()), st.sampled_from(sizes)))
    headers = draw(mostly(st.just({"inference-header-content-length": size}), st.just({})))
    below = draw(mostly(st.just(""), st.sampled_from(VERSIONS).map("/{}".format)))
    return Post(f"/v2/models/{model}{below}/infer", head + b"".join(tail for _, tail in pairs), headers)


@st.composite
def indexes(draw: st.DrawFn) -> Post:
    """A request of the repository's index."""
    usual: list[Any] = [{}, {"ready": True}]
    return Post("/v2/repository/index", draw(documents(usual, ["ready"], strange("ready"))), {})


def mostly_one(draw: st.DrawFn) -> int:
    return draw(mostly(st.just(1), st.just(4)))


def strange(*names: str) -> st.SearchStrategy[Any]:
    """JSON's values, objects with these names among them."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([0, 1]) | text
    keys = st.sampled_from([*names, MARKER])
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=8,
    )


def documents(usual: list[Any], keys: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """What is usually posted with one of its keys replaced, or one added; other JSON; and no JSON."""
    changes = st.just({}) | st.dictionaries(st.sampled_from([*keys, MARKER]), values, max_size=1)
    changed = st.tuples(st.sampled_from(usual), changes).map(lambda two: two[0] | two[1])
    return mostly((changed | values).map(json.dumps).map(str.encode), st.binary(max_size=40))


@st.composite
def verbs(draw: st.DrawFn) -> Post:
    """A request of TensorFlow Serving's REST API."""
    model = draw(mostly(st.just("and_gate"), st.sampled_from(list(MODELS))))
    row = dict(MODELS[model].example)
    codes = [feature.code(row[feature.name]) for feature in MODELS[model].features]
    (name, value), *others = row.items()
    usual = [
        {"instances": [codes]},
        {"instances": [row]},
        {"inputs": {"x": [codes]}},
        {"inputs": {name: [value] for name, value in row.items()}},
        {"examples": [row]},
        {"examples": [{name: value}], "context": dict(others)},
    ]
    keys = ["instances", "inputs", "examples", "context", "signature_name"]
    named = "regress" if model == "wine_quality" else "classify"
    verb = draw(mostly(st.sampled_from(["predict", named]), st.sampled_from(["regress", "classify", MARKER])))
    below = draw(mostly(st.just(""), st.sampled_from([*VERSIONS, *LABELS]).map("/{}".format)))
    body = draw(documents(usual, keys, strange("x", *list(row)[:2], "b64")))
    return Post(f"/v1/models/{model}{below}:{verb}", body, {})


@st.composite
def invocations(draw: st.DrawFn) -> Post:
    """A request of MLflow's scoring server."""
    usual = [
        {"dataframe_records": [{"x1": 1, "x2": 1}]},
        {"dataframe_split": {"columns": ["x1", "x2"], "data": [[1, 0]]}},
        {"instances": [[1, 1]]},
    ]
    keys = ["dataframe_split", "dataframe_records", "instances", "inputs", "params"]
    media = draw(mostly(st.just(b"application/json"), st.sampled_from([b"text/csv", MARKER.encode()])))
    media += draw(mostly(st.just(b""), st.sampled_from(PARAMETERS)))
    model = draw(mostly(st.just("and_gate"), st.just(MARKER)))
    body = draw(documents(usual, keys, strange("x1", "x2", "columns", "data", "index")))
    return Post("/invocations", body, {"x-model": model.encode(), "content-type": media})


@st.composite
def vertex(draw: st.DrawFn) -> Post:
    """A request of Vertex AI."""
    usual = [{"instances": [[1, 1]]}, {"instances": [{"x1": 1, "x2": 1}], "parameters": {}}]
    body = draw(documents(usual, ["instances", "parameters"], strange("x", "x1", "x2")))
    return Post("/v1/vertex", body, {"x-model": b"and_gate"})


@pytest.mark.parametrize(
    ("posts", "envelope", "common"),
    [
        (infers(), ["error"], (200, 400, 422)),
        (indexes(), ["error"], (200, 400)),
        (verbs(), ["error"], (200, 400, 404)),
        (invocations(), ["error_code", "message"], (200, 400, 404, 415)),
        (vertex(), ["error"], (200, 400)),
    ],
    ids=["open_inference", "index", "tensorflow_serving", "mlflow", "vertex"],
)
def test_no_body_breaks_a_dialect_or_leaves_a_trace(
    service: Iterator[tuple[asyncio.Runner, httpx.AsyncClient, Lines]],
    posts: st.SearchStrategy[Post],
    envelope: list[str],
    common: tuple[int, ...],
) -> None:
    """Any body gets an answer or a refusal; its marker is neither answered nor logged."""
    runner, client, log = service
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=BODIES,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(post=posts)
    def is_answered(post: Post) -> None:
        log.take()

        headers = {name.encode(): value for name, value in post.headers.items()}
        response = runner.run(client.post(post.path, content=post.body, headers=headers))

        statuses[response.status_code] += 1
        assert response.status_code in (200, 400, 404, 413, 415, 422), response.text
        assert MARKER.encode() not in response.content
        assert MARKER not in str(response.headers)
        if response.status_code != 200:
            assert list(response.json()) == envelope
        lines = log.take()
        assert lines
        assert MARKER not in "\n".join(lines)
        if response.headers["content-type"] == "application/json":
            json.loads(response.content, parse_constant=pytest.fail)

    is_answered()

    assert all(statuses[status] > BODIES / 30 for status in common), statuses
