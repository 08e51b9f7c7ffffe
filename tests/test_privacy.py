"""The survival artifact is made from patients and holds none of them; nor does wine_type hold a wine."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from service.models import MODELS
from training.kernel import BLOCK, PANEL
from training.table import read

ARTIFACTS = Path(__file__).parent.parent / "artifacts"
# The largest dimension of the patients' variables: 101 percentiles between two flat steps, the first of which
# stands there twice.
LONGEST = 104
SURVIVAL = MODELS["survival"]


def newest(model: str) -> Path:
    return max((ARTIFACTS / model).iterdir(), key=lambda path: int(path.name))


@pytest.fixture(scope="module")
def variables() -> dict[str, np.ndarray]:
    """Every number that the graph of survival holds as state, by name."""
    checkpoint = tf.train.load_checkpoint(str(newest("survival") / "variables" / "variables"))
    return {
        name: checkpoint.get_tensor(name)
        for name, kind in checkpoint.get_variable_to_dtype_map().items()
        if kind.is_floating
    }


def test_no_variable_has_a_row_for_each_patient(variables: dict[str, np.ndarray]) -> None:
    """Nothing grows with the table: every dimension is that of columns, bins, units or percentiles."""
    patients = len(read(SURVIVAL))

    assert variables
    assert all(max(values.shape, default=0) <= LONGEST < patients for values in variables.values())


@pytest.mark.parametrize("model", ["survival", "wine_type"])
def test_no_file_holds_a_row_of_the_table(model: str) -> None:
    """The 16 numbers of a patient, or 12 of a wine, as float32 or float64, are in none of the files."""
    blobs = [path.read_bytes() for path in newest(model).rglob("*") if path.is_file()]

    assert len(blobs) > 5
    for row in read(MODELS[model]).matrix:
        assert not any(row.astype(kind).tobytes() in blob for blob in blobs for kind in ("<f4", "<f8"))


def test_wine_type_is_weights_of_one_net_and_columns() -> None:
    """Nothing in it is as long as the table, or as a part of it that its choices were made on."""
    checkpoint = tf.train.load_checkpoint(str(newest("wine_type") / "variables" / "variables"))
    longest = max(max(shape, default=0) for shape in checkpoint.get_variable_to_shape_map().values())

    assert longest == 104  # steps of the percentile of the distance


def test_the_artifacts_of_grades_would_fail_this() -> None:
    """The bound that patients' variables keep is broken by wines: their centres stand there, in blocks."""
    checkpoint = tf.train.load_checkpoint(str(newest("wine_quality") / "variables" / "variables"))
    shapes = checkpoint.get_variable_to_shape_map()
    distinct = len(read(MODELS["wine_quality"]).distinct())
    columns = [shape[1] for name, shape in shapes.items() if "/machine/columns/" in name]

    assert max(columns) == BLOCK > LONGEST
    assert sum(columns) == distinct + -distinct % PANEL
