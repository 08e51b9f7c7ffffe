"""What an artifact discloses of the rows that it was fitted to: none, or wines where its card says so."""

import numpy as np
import pytest
import tensorflow as tf
from test_export import published

from training.network import HOLDS_ROWS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def artifacts(fitted, small, tmp_path_factory):
    """The patients' artifact, one that a kernel machine has taught, and one that holds one, by name."""
    root = tmp_path_factory.mktemp("artifacts")
    return {
        name: published(fitted[name], small[name], root) for name in ("survival", "wine_type", "wine_grade")
    }


def numbers_of(folder):
    """Every array of a saved artifact, by name: variables and the constants of its graphs."""
    checkpoint = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    for name, _ in tf.train.list_variables(str(folder / "variables" / "variables")):
        values = checkpoint.get_tensor(name)
        if isinstance(values, np.ndarray) and values.dtype.kind in "fi" and values.size:
            yield name, values.astype(np.float64)
    loaded = tf.saved_model.load(str(folder))
    for signature in loaded.signatures.values():
        graph = signature.graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        for node in nodes:
            if node.op == "Const" and node.attr["dtype"].type != tf.string.as_datatype_enum:
                values = tf.make_ndarray(node.attr["value"].tensor)
                if values.size:
                    yield node.name, values.astype(np.float64)


def rows_in(values, forms):
    """Count the rows of any of the forms, (n, w) each, that stand in an array along one of its axes."""
    lines = [np.moveaxis(values, axis, -1).reshape(-1, size) for axis, size in enumerate(values.shape)]
    return sum(
        int((np.abs(line[:, None] - form[None]).max(axis=2) < 1e-4).any())
        for form in forms
        for line in lines
        if line.shape[1] == form.shape[1]
    )


def forms_of(fitted, table):
    """The table's rows as they are, encoded, and as the distance sees them, each with its own copy."""
    network = fitted.network
    x = tf.constant(table.matrix)
    beside = network.encoding.with_levels(x).numpy()
    encoded = [beside, network.encoding(x).numpy(), network.encoding.unbounded(x).numpy()]
    whitened = (beside - network.distance.centre) @ network.distance.whitening.numpy()
    return [table.matrix, *encoded, whitened]


@pytest.mark.parametrize("name", ["survival", "wine_type"])
def test_no_row_stands_in_an_artifact_of_nets(artifacts, fitted, small, name):
    """No variable and no constant holds a row in any form, and none has a dimension of the table's length."""
    forms, found = forms_of(fitted[name], small[name]), list(numbers_of(artifacts[name]))
    # The baseline is made of medians and most frequent levels, one by one.
    holding = [key for key, values in found if "baseline" not in key and rows_in(values, forms)]
    lengths = {len(small[name]), len(fitted[name].choices.table), len(small[name]) // 2}

    assert len(found) > 10
    assert holding == []
    assert [key for key, values in found if lengths & {*values.shape}] == []


def test_training_rows_would_be_found(artifacts, fitted, small):
    """A kernel machine holds wines, and the same search finds them there."""
    network, table = fitted["wine_grade"].network, small["wine_grade"]
    machine = network.learners[1]
    z = network.encoding(tf.constant(table.matrix)).numpy()[:, machine.places]
    place = (
        np.pad(z, [(0, 0), (0, 1)])
        @ machine.machine.transform.numpy()[:, : machine.machine.columns[0].shape[0] - 1]
    )
    squares = (place**2).sum(axis=1, keepdims=True)
    forms = [np.hstack([-2 * place[:, :-1], squares, np.ones_like(squares)])]

    assert any(rows_in(values, forms) for _, values in numbers_of(artifacts["wine_grade"]))


def test_the_card_says_which_artifact_holds_rows(artifacts):
    said = {name: HOLDS_ROWS in (folder / "card.md").read_text() for name, folder in artifacts.items()}

    assert said == {"survival": False, "wine_type": False, "wine_grade": True}
