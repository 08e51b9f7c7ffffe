"""Operations that an artifact may not hold are found before TensorFlow loads it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from service.errors import ArtifactRejected
from service.graph import foreign
from service.manifest import Manifest, digests
from service.models import MODELS
from service.servable import SavedModelServable

ARTIFACTS = Path(__file__).parent.parent / "artifacts"
Body = Callable[..., tf.Tensor]


class Gate(tf.Module):
    """AND, after something that no answer needs."""

    def __init__(self, first: Body) -> None:
        self._first = first
        self.count = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
    def predict(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.control_dependencies([self._first(self, x)]):
            return {"probability": x[:, 0] * x[:, 1], "distance_percentile": x[:, 0]}


def saved(folder: Path, first: Body) -> None:
    """Save such a gate in the folder, with right digests."""
    gate = Gate(first)
    tf.saved_model.save(gate, str(folder), {"serving_default": gate.predict, "explain": gate.predict})
    manifest = Manifest.read(folder)
    manifest.model_copy(update={"files": digests(folder)}).write(folder)


def parsed(folder: Path) -> SavedModel:
    return SavedModel.FromString((folder / "saved_model.pb").read_bytes())


def test_every_committed_artifact_only_computes() -> None:
    """All models, whatever their recipe."""
    folders = [folder for model in MODELS for folder in (ARTIFACTS / model).iterdir()]

    assert len(folders) >= len(MODELS)
    assert [foreign(parsed(folder)) for folder in folders] == [[]] * len(folders)


BODIES: dict[str, Body] = {
    "ReadFile": lambda _, x: tf.io.read_file("/etc/hostname"),
    "WriteFile": lambda _, x: tf.io.write_file("written", "by a graph"),
    "EagerPyFunc": lambda _, x: tf.py_function(lambda: 1.0, [], tf.float32),
    "PyFunc": lambda _, x: tf.numpy_function(lambda: np.float32(1), [], tf.float32),
    "PrintV2": lambda _, x: tf.print(x),
    "StatelessWhile": lambda _, x: tf.while_loop(lambda _: True, lambda n: (n,), [0])[0],
    "RandomUniform": lambda _, x: tf.random.uniform([]),
    "MatchingFiles": lambda _, x: tf.io.matching_files("/*"),
    "Save": lambda _, x: tf.raw_ops.Save(filename="written", tensor_names=["x"], data=[x]),
}


@pytest.mark.parametrize(("operation", "body"), BODIES.items(), ids=BODIES)
def test_an_operation_that_does_more_than_compute_is_rejected(
    artifact: Path, operation: str, body: Body
) -> None:
    """By name, and before it was run: digests and golden rows alone would let the file be written."""
    saved(artifact, body)

    with pytest.raises(ArtifactRejected, match=f"has the operation {operation}, which"):
        SavedModelServable(artifact, MODELS["and_gate"])
    assert not Path("written").exists()


def test_a_graph_that_remembers_requests_is_rejected(artifact: Path) -> None:
    """Variables are read; only the saver, which is never run, restores them."""
    saved(artifact, lambda self, x: self.count.assign_add(tf.reduce_sum(x)))

    assert "the operation AssignAddVariableOp, which" in "; ".join(foreign(parsed(artifact)))

    saved(artifact, lambda self, x: self.count.assign(tf.reduce_sum(x)))

    assert foreign(parsed(artifact)) == [
        "saved_model.pb has the operation AssignVariableOp outside of its saver's functions"
    ]


@pytest.mark.parametrize("how", ["by an attribute", "by the objects", "by a list of branches"])
def test_a_saver_that_can_be_called_is_rejected(artifact: Path, how: str) -> None:
    """It writes files to wherever it is told."""
    graph = parsed(artifact)
    meta = graph.meta_graphs[0]
    saver = next(
        function.signature.name
        for function in meta.graph_def.library.function
        if any(node.op == "SaveV2" for node in function.node_def)
    )
    caller = next(
        node
        for function in meta.graph_def.library.function
        for node in function.node_def
        if node.op == "StatefulPartitionedCall"
    )
    if how == "by an attribute":
        caller.attr["f"].func.name = saver
    elif how == "by a list of branches":
        caller.attr["branches"].list.func.add().name = saver
    else:
        meta.object_graph_def.nodes.add().bare_concrete_function.concrete_function_name = saver

    assert any("SaveV2 outside" in reason for reason in foreign(graph))


def with_writer(artifact: Path, attributes: Callable[[str], dict[str, object] | None]) -> SavedModel:
    """A graph that calls one function, beside another of its interface, which writes and is not called."""
    shape = [tf.TensorSpec([None, 2], tf.float32, "x")]

    def written(x: tf.Tensor) -> tf.Tensor:
        save = tf.raw_ops.SaveV2(prefix="written", tensor_names=["x"], shape_and_slices=[""], tensors=[x])
        with tf.control_dependencies([save]):
            return x * 1.0

    good = tf.function(lambda x: x * 1.0, shape, experimental_attributes=attributes("GPU"))
    bad = tf.function(written, shape, experimental_attributes=attributes("CPU")).get_concrete_function()
    saved(artifact, lambda _, x: good(x))
    graph = parsed(artifact)
    graph.meta_graphs[0].graph_def.library.function.append(bad.function_def)
    return graph


def test_a_function_that_tensorflow_may_run_in_anothers_place_is_rejected(artifact: Path) -> None:
    """Of the functions that implement one interface it runs the one for the device, whichever is called."""
    graph = with_writer(artifact, lambda device: {"api_implements": "both", "api_preferred_device": device})
    reasons = "; ".join(foreign(graph))

    assert "the operation SaveV2 outside of its saver's functions" in reasons
    assert "a function with the attribute api_implements, which" in reasons
    assert "a function with the attribute api_preferred_device, which" in reasons


def test_a_function_that_writes_and_is_not_called_is_rejected(artifact: Path) -> None:
    """Who knows what calls it."""
    assert foreign(with_writer(artifact, lambda _: None)) == [
        "saved_model.pb has the operation SaveV2 outside of its saver's functions"
    ]


def test_a_second_function_of_one_name_is_looked_at(artifact: Path) -> None:
    """Whichever of them is loaded."""
    graph = parsed(artifact)
    functions = graph.meta_graphs[0].graph_def.library.function
    functions.insert(0, functions[0])
    functions[0].node_def.add().op = "WriteFile"

    assert "the operation WriteFile, which" in "; ".join(foreign(graph))


def test_a_graph_without_objects_is_rejected(artifact: Path) -> None:
    """TensorFlow would run the nodes of a graph of version 1 as soon as it loads them."""
    graph = parsed(artifact)
    graph.meta_graphs[0].ClearField("object_graph_def")

    assert foreign(graph) == ["saved_model.pb is not what TensorFlow 2 saves; export the model again"]
    assert foreign(SavedModel()) == foreign(graph)
