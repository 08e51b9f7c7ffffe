"""What holds for every dialect: the same numbers to the last bit; `test_dialect_refusals` has the rest."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servers import client_of
from service.actions import actions
from service.app import create_app
from service.dialects import DIALECTS
from service.features import to_matrix
from service.inference import CALL_ROWS
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Regression
from test_bulk import rows as fitting_rows

Instances = Sequence[Mapping[str, Any]]
# The declared outputs by name, float32, (n,) or (n, width).
Numbers = dict[str, Any]


class Form(NamedTuple):
    """One way of asking: what is posted for rows, as httpx takes it, and what the answer says."""

    name: str
    ask: Callable[[ModelSpec, Instances], dict[str, Any]]
    read: Callable[[ModelSpec, httpx.Response], Numbers]


def native_json(spec: ModelSpec, rows: Instances) -> dict[str, Any]:
    return {"url": f"/models/{spec.name}/predict", "json": {"instances": list(rows)}}


def native_csv(spec: ModelSpec, rows: Instances) -> dict[str, Any]:
    lines = [",".join(spec.example), *(",".join(str(row[name]) for name in spec.example) for row in rows)]
    headers = {"content-type": "text/csv"}
    return {"url": f"/models/{spec.name}/predict", "content": "\n".join(lines), "headers": headers}


def native_numbers(spec: ModelSpec, answer: httpx.Response) -> Numbers:
    predictions = [one | one["applicability"] for one in answer.json()["predictions"]]
    found = {}
    for output in spec.outputs:
        values = [one[output.name] for one in predictions]
        found[output.name] = [list(one.values()) for one in values] if output.width else values
    return {name: np.asarray(values, np.float32) for name, values in found.items()}


def matrix(spec: ModelSpec, rows: Instances) -> Any:
    return to_matrix(spec.row, [spec.row.model_validate(row) for row in rows])


def shortest(array: Any) -> Any:
    """The shortest decimals, as somebody writes them: a double of float32's 0.9 lies below the bound 0.9."""
    return np.array([float(str(value)) for value in array.ravel()]).reshape(array.shape)


def tensor(name: str, array: Any, datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "shape": list(array.shape), "datatype": datatype}


def v2(spec: ModelSpec, inputs: list[dict[str, Any]], *tails: bytes, binary: bool = False) -> dict[str, Any]:
    """A request of the Open Inference Protocol; with `binary` the answer too is asked for in bytes."""
    document = {"inputs": inputs} | ({"parameters": {"binary_data_output": True}} if binary else {})
    head = json.dumps(document).encode()
    headers = {"inference-header-content-length": str(len(head))} if tails else {}
    return {"url": f"/v2/models/{spec.name}/infer", "content": b"".join([head, *tails]), "headers": headers}


def v2_json(spec: ModelSpec, rows: Instances, datatype: str, flat: bool) -> dict[str, Any]:
    array = matrix(spec, rows)
    decimals = shortest(array)
    data = (decimals.ravel() if flat else decimals).tolist()
    return v2(spec, [tensor("x", array, datatype) | {"data": data}], binary=flat)


def v2_binary(spec: ModelSpec, rows: Instances, dtype: str) -> dict[str, Any]:
    array = (matrix(spec, rows) if dtype == "<f4" else shortest(matrix(spec, rows))).astype(dtype)
    datatype = {"<f4": "FP32", "<f8": "FP64"}[dtype]
    return v2(
        spec,
        [tensor("x", array, datatype) | {"parameters": {"binary_data_size": array.nbytes}}],
        array.tobytes(),
        binary=True,
    )


def v2_features(spec: ModelSpec, rows: Instances, binary: bool) -> dict[str, Any]:
    """A tensor for each feature: levels by name, flags as booleans, counts as whole numbers."""
    inputs, tails = [], []
    for feature in reversed(spec.features):
        values = [row[feature.name] for row in rows]
        kinds = {"flag": ("BOOL", "?"), "category": ("BYTES", None), "count": ("INT16", "<i2")}
        datatype, dtype = kinds.get(feature.kind, ("FP64", "<f8"))
        if dtype:
            array = np.array(values, dtype)
            data, raw = array.tolist(), array.tobytes()
        else:
            texts = [value.encode() for value in values]
            data, raw = values, b"".join(len(text).to_bytes(4, "little") + text for text in texts)
        content = {"parameters": {"binary_data_size": len(raw)}} if binary else {"data": data}
        inputs.append({"name": feature.name, "shape": [len(rows), 1], "datatype": datatype} | content)
        tails.append(raw)
    return v2(spec, inputs, *(tails if binary else []))


def v2_numbers(spec: ModelSpec, answer: httpx.Response) -> Numbers:
    size = answer.headers.get("inference-header-content-length")
    end = int(size) if size else len(answer.content)
    found = {}
    for output in json.loads(answer.content[:end])["outputs"]:
        if "data" in output:
            values = np.asarray(output["data"], np.float32)
        else:
            width = output["parameters"]["binary_data_size"]
            values = np.frombuffer(answer.content[end : end + width], "<f4")
            end += width
        found[output["name"]] = values.reshape(output["shape"])
    assert end == len(answer.content)
    return found


def v1(spec: ModelSpec, document: dict[str, Any]) -> dict[str, Any]:
    return {"url": f"/v1/models/{spec.name}:predict", "json": document}


def v1_rows(spec: ModelSpec, rows: Instances) -> dict[str, Any]:
    return v1(spec, {"instances": list(rows)})


def v1_tensor_rows(spec: ModelSpec, rows: Instances) -> dict[str, Any]:
    return v1(spec, {"instances": [{"x": row} for row in shortest(matrix(spec, rows)).tolist()]})


def v1_columns(spec: ModelSpec, rows: Instances) -> dict[str, Any]:
    return v1(spec, {"inputs": {name: [row[name] for row in rows] for name in spec.example}})


def v1_tensor(spec: ModelSpec, rows: Instances) -> dict[str, Any]:
    return v1(spec, {"inputs": shortest(matrix(spec, rows)).tolist()})


def v1_examples(spec: ModelSpec, rows: Instances) -> dict[str, Any]:
    """What all rows have alike is said once."""
    shared = {name: value for name, value in rows[0].items() if all(row[name] == value for row in rows)}
    examples = [{name: value for name, value in row.items() if name not in shared} for row in rows]
    verb = "regress" if isinstance(spec.task, Regression) else "classify"
    return {"url": f"/v1/models/{spec.name}:{verb}", "json": {"context": shared, "examples": examples}}


def results_of(spec: ModelSpec, numbers: Numbers) -> Any:
    """What classify and regress say of each row: float32, (n, classes) or (n,)."""
    match spec.task:
        case Regression():
            return numbers[spec.target.name]
        case Multiclass():
            return numbers["probabilities"]
        case Binary(event=event, complement=complement):
            other = numbers[complement] if complement else 1 - numbers[event]
            return np.stack([other, numbers[event]], axis=1)


def of_records(spec: ModelSpec, answer: httpx.Response) -> Numbers:
    records = answer.json()["predictions"]
    return {name: np.asarray([one[name] for one in records], np.float32) for name in records[0]}


def of_columns(spec: ModelSpec, answer: httpx.Response) -> Numbers:
    return {name: np.asarray(values, np.float32) for name, values in answer.json()["outputs"].items()}


def invocations(spec: ModelSpec, rows: Instances) -> dict[str, Any]:
    frame = {"columns": list(spec.example), "data": [[row[name] for name in spec.example] for row in rows]}
    return {"url": "/invocations", "json": {"dataframe_split": frame}, "headers": {"x-model": spec.name}}


def invocations_of(spec: ModelSpec, rows: Instances, key: str) -> dict[str, Any]:
    """In a form that another dialect has, or MLflow alone, by its key."""
    documents = {
        "dataframe_records": {"dataframe_records": rows},
        "instances": {"instances": shortest(matrix(spec, rows)).tolist()},
        "inputs": v1_columns(spec, rows)["json"],
    }
    return {"url": "/invocations", "json": documents[key], "headers": {"x-model": spec.name}}


def vertex(spec: ModelSpec, rows: Instances) -> dict[str, Any]:
    return {
        "url": "/vertex",
        "json": {"instances": rows, "parameters": {}},
        "headers": {"x-model": spec.name},
    }


def v2_raw(spec: ModelSpec, rows: Instances) -> dict[str, Any]:
    """The matrix, and nothing else."""
    headers = {"inference-header-content-length": "0"}
    return {
        "url": f"/v2/models/{spec.name}/infer",
        "content": matrix(spec, rows).astype("<f4").tobytes(),
        "headers": headers,
    }


def invocations_csv(spec: ModelSpec, rows: Instances) -> dict[str, Any]:
    request = native_csv(spec, rows)
    return request | {"url": "/invocations", "headers": request["headers"] | {"x-model": spec.name}}


FORMS = [
    Form("native JSON", native_json, native_numbers),
    Form("native CSV", native_csv, native_numbers),
    Form("OIP JSON", partial(v2_json, datatype="FP32", flat=False), v2_numbers),
    Form("OIP JSON, flat, FP64, answered in bytes", partial(v2_json, datatype="FP64", flat=True), v2_numbers),
    Form("OIP binary", partial(v2_binary, dtype="<f4"), v2_numbers),
    Form("OIP binary, FP64", partial(v2_binary, dtype="<f8"), v2_numbers),
    Form("OIP, the matrix alone", v2_raw, v2_numbers),
    Form("OIP per-feature tensors", partial(v2_features, binary=False), v2_numbers),
    Form("OIP per-feature tensors, binary", partial(v2_features, binary=True), v2_numbers),
    Form("TensorFlow Serving, rows", v1_rows, of_records),
    Form("TensorFlow Serving, rows of numbers", v1_tensor_rows, of_records),
    Form("TensorFlow Serving, columns", v1_columns, of_columns),
    Form("TensorFlow Serving, columns of numbers", v1_tensor, of_columns),
    Form("/invocations, a frame", invocations, of_records),
    Form("/invocations, a table", invocations_csv, of_records),
    *(
        Form(f"/invocations, {key}", partial(invocations_of, key=key), of_records)
        for key in ("dataframe_records", "instances", "inputs")
    ),
    Form("Vertex AI", vertex, of_records),
]


class Service:
    """The service over the committed artifacts, called without an event loop of the test's own."""

    def __init__(self, registry: Registry) -> None:
        self._runner = asyncio.Runner()
        self._context = client_of(create_app(Settings(aip_predict_route="/vertex"), registry))
        self.client = self._runner.run(self._context.__aenter__())

    def post(self, **request: Any) -> httpx.Response:
        return self._runner.run(self.client.post(**request))

    def close(self) -> None:
        self._runner.run(self._context.__aexit__(None, None, None))
        self._runner.close()


@pytest.fixture(scope="module")
def service(loaded: Registry) -> Iterator[Service]:
    service = Service(loaded)
    yield service
    service.close()


def test_every_form_gives_the_same_numbers_to_the_last_bit(service: Service, spec: ModelSpec) -> None:
    """Rows at random, as many in each request."""

    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(fitting_rows(spec), min_size=1, max_size=16))
    def compare(rows: Instances) -> None:
        found = {}
        for form in FORMS:
            answer = service.post(**form.ask(spec, rows))
            assert answer.status_code == 200, (form.name, answer.text)
            found[form.name] = {
                name: (values.shape, values.tobytes()) for name, values in form.read(spec, answer).items()
            }
        expected = found.pop("native JSON")
        assert expected.keys() == {output.name for output in spec.outputs}
        for name, numbers in found.items():
            assert numbers == expected, name

    compare()


def test_classify_and_regress_give_the_same_numbers_to_the_last_bit(
    service: Service, spec: ModelSpec
) -> None:
    """Rows at random, with and without a context."""

    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(fitting_rows(spec), min_size=1, max_size=4))
    def compare(rows: Instances) -> None:
        native = service.post(**native_json(spec, rows))
        answer = service.post(**v1_examples(spec, rows))
        assert answer.status_code == 200, answer.text
        said = answer.json()["results"]
        found = said if isinstance(spec.task, Regression) else [[share for _, share in row] for row in said]
        expected = results_of(spec, native_numbers(spec, native))
        assert np.asarray(found, np.float32).tobytes() == expected.tobytes()

    compare()


def test_what_is_posted_most_passes_the_router_by(spec: ModelSpec) -> None:
    """By its whole path, under the template of its route."""
    predicts = {spec.name: actions(spec)[0]}
    found = [dialect.shortcuts(predicts) for dialect in DIALECTS]
    shortcuts = {path: one.path for each in found for path, one in each.items()}

    for template in ("/v2/models/{model}/infer", "/v1/models/{model}:predict", "/invocations"):
        assert shortcuts[template.replace("{model}", spec.name)] == template


def test_a_query_means_nothing_in_a_dialect(service: Service, spec: ModelSpec) -> None:
    """As of a client's `query_params`; natively an option in the wrong place is refused."""
    for form in FORMS[2:]:
        request = form.ask(spec, [dict(spec.example)])
        asked = service.post(**request, params={"coverage": "0.8", "trace": "1"})
        assert asked.content == service.post(**request).content, form.name


def test_more_rows_than_a_call_has_give_the_same_numbers_too(service: Service, spec: ModelSpec) -> None:
    """Whichever way they come, they are computed in the same calls."""
    rows = [dict(spec.example)] * (2 * CALL_ROWS + 1)
    found = []
    for form in FORMS:
        answer = service.post(**form.ask(spec, rows))
        assert answer.status_code == 200, (form.name, answer.text)
        found.append(form.read(spec, answer))
    for form, numbers in zip(FORMS, found, strict=True):
        for name, values in found[0].items():
            assert len(values) == len(rows)
            assert numbers[name].tobytes() == values.tobytes(), (form.name, name)
