"""The survival artifact is made from patients and holds none of them."""

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


@pytest.fixture(scope="module")
def folder() -> Path:
    return max((ARTIFACTS / "survival").iterdir(), key=lambda path: int(path.name))


@pytest.fixture(scope="module")
def variables(folder: Path) -> dict[str, np.ndarray]:
    """Every number that the graph holds as state, by name."""
    checkpoint = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
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


def test_no_file_holds_a_patients_row(folder: Path) -> None:
    """The 16 numbers of a patient, as float32 or float64, are in none of the artifact's files."""
    blobs = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    matrix = read(SURVIVAL).matrix

    assert len(blobs) > 5
    for row in matrix:
        assert not any(row.astype(kind).tobytes() in blob for blob in blobs for kind in ("<f4", "<f8"))


def test_the_wine_artifacts_would_fail_this() -> None:
    """The bound that patients' variables keep is broken by wines: their centres stand there, in blocks."""
    home = max((ARTIFACTS / "wine_quality").iterdir(), key=lambda path: int(path.name))
    checkpoint = tf.train.load_checkpoint(str(home / "variables" / "variables"))
    shapes = checkpoint.get_variable_to_shape_map()
    distinct = len(read(MODELS["wine_quality"]).distinct())
    columns = [shape[1] for name, shape in shapes.items() if "/machine/columns/" in name]

    assert max(columns) == BLOCK > LONGEST
    assert sum(columns) == distinct + -distinct % PANEL
