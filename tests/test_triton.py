"""`tritonclient[http]`, as it is installed, against a real process: only the address is ours."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from servers import ROOT, Server, publish
from service import __version__
from service.features import Matrix, to_matrix
from service.inference import CALL_ROWS
from service.models import MODELS
from service.spec import ModelSpec


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With two versions of the gate."""
    artifacts: Path = shutil.copytree(ROOT / "artifacts", tmp_path_factory.mktemp("two") / "artifacts")
    publish(artifacts, 1)
    with Server("--artifacts", str(artifacts)) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


@pytest.fixture
def native(server: Server, spec: ModelSpec) -> Any:
    body = {"instances": [dict(spec.example)] * 3}
    return httpx.post(f"{server.url}/models/{spec.name}/predict", json=body).json()


def matrix(spec: ModelSpec) -> Matrix:
    return to_matrix(spec.row, [spec.row.model_validate(spec.example)] * 3)


def numbers(spec: ModelSpec, native: Any) -> dict[str, Any]:
    found = [one | one["applicability"] for one in native["predictions"]]
    return {
        output.name: np.asarray(
            [list(one[output.name].values()) if output.width else one[output.name] for one in found],
            np.float32,
        )
        for output in spec.outputs
    }


def test_the_server_describes_itself(client: triton.InferenceServerClient) -> None:
    """Live, ready, its name and extensions, and every version that is served."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["version"] == __version__
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    index = client.get_model_repository_index()
    assert {one["name"] for one in index} == set(MODELS)
    assert {one["state"] for one in index} == {"READY"}


def test_a_model_describes_itself(client: triton.InferenceServerClient, spec: ModelSpec, native: Any) -> None:
    """Ready, its versions and tensors; by version too, and no version that is not there."""
    metadata = client.get_model_metadata(spec.name)

    assert client.is_model_ready(spec.name)
    assert client.is_model_ready(spec.name, str(native["version"]))
    assert not client.is_model_ready(spec.name, "999")
    assert not client.is_model_ready("horse")
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, len(spec.features)]}]
    assert [output["name"] for output in metadata["outputs"]] == [one.name for one in spec.outputs]
    assert str(native["version"]) in metadata["versions"]


@pytest.mark.parametrize("as_bytes", [True, False])
@pytest.mark.parametrize("asked", [True, False, None])
def test_rows_are_answered_as_the_native_dialect_answers_them(
    client: triton.InferenceServerClient, spec: ModelSpec, native: Any, as_bytes: bool, asked: Any
) -> None:
    """Sent as JSON or as bytes, asked for as either; where nothing is said, all comes as bytes."""
    x = triton.InferInput("x", [3, len(spec.features)], "FP32")
    x.set_data_from_numpy(matrix(spec), binary_data=as_bytes)
    outputs = [triton.InferRequestedOutput(one.name, binary_data=asked) for one in spec.outputs]

    result = client.infer(spec.name, [x], outputs=None if asked is None else outputs, request_id="number 7")

    for name, values in numbers(spec, native).items():
        assert result.as_numpy(name).tobytes() == values.tobytes()
    answer = result.get_response()
    assert answer["id"] == "number 7"
    assert answer["model_version"] == str(native["version"])


def test_features_may_be_sent_one_by_one(
    client: triton.InferenceServerClient, spec: ModelSpec, native: Any
) -> None:
    """Levels by name, flags as booleans; only the output that is asked for comes back."""
    inputs = []
    for feature in spec.features:
        datatype, dtype = {"flag": ("BOOL", bool), "category": ("BYTES", object)}.get(
            feature.kind, ("FP64", float)
        )
        inputs.append(triton.InferInput(feature.name, [3], datatype))
        inputs[-1].set_data_from_numpy(np.array([spec.example[feature.name]] * 3, dtype))
    name = spec.explained

    result = client.infer(spec.name, inputs, outputs=[triton.InferRequestedOutput(name)])

    assert result.as_numpy(name).tobytes() == numbers(spec, native)[name].tobytes()
    assert len(result.get_response()["outputs"]) == 1


def test_an_older_version_answers_if_it_is_named(client: triton.InferenceServerClient) -> None:
    """And says which it was."""
    newest, oldest = client.get_model_metadata("and_gate")["versions"]
    for asked, answers in ((oldest, oldest), (newest, newest), ("", newest)):
        x = triton.InferInput("x", [3, 2], "FP32")
        x.set_data_from_numpy(matrix(MODELS["and_gate"]))

        answer = client.infer("and_gate", [x], model_version=asked).get_response()

        assert oldest == "1"
        assert answer["model_version"] == answers


def test_a_refusal_is_the_clients_own_exception(client: triton.InferenceServerClient) -> None:
    """With its status and all that was wrong."""
    x = triton.InferInput("x", [1, 2], "FP32")
    x.set_data_from_numpy(np.array([[1, 7]], np.float32))

    with pytest.raises(InferenceServerException, match="x2 is outside the physical range") as caught:
        client.infer("and_gate", [x])

    assert caught.value.status() == "422"


def test_a_request_may_be_compressed(
    client: triton.InferenceServerClient, spec: ModelSpec, native: Any
) -> None:
    """With gzip; deflate is refused, and the header says so."""
    x = triton.InferInput("x", [3, len(spec.features)], "FP32")
    x.set_data_from_numpy(matrix(spec))

    result = client.infer(spec.name, [x], request_compression_algorithm="gzip")

    for name, values in numbers(spec, native).items():
        assert result.as_numpy(name).tobytes() == values.tobytes()
    with pytest.raises(InferenceServerException, match="gzip"):
        client.infer(spec.name, [x], request_compression_algorithm="deflate")


def test_many_rows_come_back_in_order(client: triton.InferenceServerClient) -> None:
    """More than one call takes, each with its own answer."""
    rows = np.random.default_rng(1).integers(0, 2, (2 * CALL_ROWS + 1, 2)).astype(np.float32)
    x = triton.InferInput("x", list(rows.shape), "FP32")
    x.set_data_from_numpy(rows)

    found = client.infer("and_gate", [x]).as_numpy("probability")

    assert ((found > 0.5) == rows.all(axis=1)).all()
