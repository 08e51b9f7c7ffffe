"""Writing an artifact: a network and its manifest into artifacts/<model>/<version>/, or nothing at all.

Knows TensorFlow's SavedModel, the manifest and files; knows nothing of fitting. The artifact is written
into a hidden folder beside its place, loaded again and compared with the live network, flushed to the
disk and renamed: a version is there completely or not at all, and once there it never changes.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version as library_version
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from service.applicability import Seen
from service.features import Feature, Matrix
from service.graph import foreign
from service.manifest import Column, Golden, GraphOutput, Manifest, Training, digests, threshold_of
from service.quality import Quality
from service.spec import ModelSpec
from service.tasks import Binary, Outputs
from training.card import card, provenance
from training.drawings import draw
from training.fit import Fitted
from training.labels import labels, named, prior
from training.network import Network
from training.table import Source, Table

QUANTILES = np.linspace(0, 1, 11)
# How far each golden column is rolled against the one before it; the next is tried if a row is a patient's.
ROLLS = (3, 2, 4, 5, 1, 6, 7, 8, 9, 10)
# The reloaded graph runs the same kernels on the same machine: it may differ by the order of a sum.
SAME = 1e-5
# What attributions may leave unexplained, of the range of the explained output.
UNEXPLAINED = 1e-3
# Rows explained in one call: along the path of each a kernel machine holds 128 distances to each centre.
AT_ONCE = 8
LIBRARIES = ("tensorflow", "keras", "numpy", "pandas", "scikit-learn")


class ExportError(Exception):
    """An artifact that may not be written, or that is not what was meant to be written."""


def export(
    fitted: Fitted, table: Table, quality: Quality, root: Path, *, recipe: str, seed: int, made_by: str,
    source: Source, version: int | None = None, force: bool = False,
) -> Path:  # fmt: skip
    """Publish what was fitted as root/<model>/<version>, by default the next free one; return the folder.

    `table` is the whole table, `made_by` the command. Raises ExportError if the version exists, if the
    reloaded artifact differs from the network, if the attributions do not add up, or if the publishing
    gate objects; with `force` the gate's objection is recorded in the manifest and the card instead.
    """
    network, spec = fitted.network, fitted.network.spec
    place = unpublished(root / spec.name, version)
    forced = objection(quality)
    if forced and not force:
        raise ExportError(
            f"{forced}; improve the recipe, or publish it with --force, which the card will say"
        )
    with _published(place) as folder:
        tf.saved_model.save(network, str(folder), signatures=network.signatures)
        title = f"{spec.name}, version {place.name}"
        drawings = draw(folder, spec, title, *_unseen(fitted), fitted.choices.curve, loss_unit(spec))
        golden = _golden(network, table)
        manifest = Manifest(
            model=spec.name, version=int(place.name), task=spec.task.name,
            features=[Column.of(feature) for feature in spec.features], target=Column.of(spec.target),
            outputs=[GraphOutput.of(output) for output in spec.outputs],
            explained=spec.explained, threshold=threshold_of(spec), prior=prior(spec, table),
            critical=fitted.critical, seen=dict(_seen(spec, table.matrix)),
            training=_training(network, fitted.choices.table, recipe, seed), quality=quality,
            provenance=provenance(spec, source, network.limits, made_by, drawings, forced), golden=golden,
            files={},
        )  # fmt: skip
        (folder / "card.md").write_text(card(spec, manifest), encoding="utf-8")
        manifest.model_copy(update={"files": digests(folder)}).write(folder)
        _allowed(folder)
        compare(folder, network, np.asarray(golden.inputs, np.float32))
        complete(network, table.matrix[:: max(1, len(table) // 200)])
    return place


def objection(quality: Quality) -> str | None:
    """Return why a model of this quality may not be published, None if it may.

    It has to beat the trivial baseline's loss, row by row, by more than the chance in which rows were met.
    """
    margin = quality.margin
    if margin is None or margin.low is None:
        return "the loss was not compared with the trivial baseline's"
    if margin.low > 0:
        return None
    return (
        f"the loss is {margin.value:.4f} below the trivial baseline's, with a 95 % interval from"
        f" {margin.low:.4f} to {margin.high:.4f}: expected above 0"
    )


def loss_unit(spec: ModelSpec) -> str:
    """Name what the learning curve counts in."""
    if isinstance(spec.task, Binary):
        return "cross-entropy, nats"
    return f"squared error, {spec.target.unit or 'unit'} squared"


def _unseen(fitted: Fitted) -> tuple[Table, Outputs]:
    """Return the rows that plots show with answers to them, each from learners that had not seen it."""
    choices, spec = fitted.choices, fitted.network.spec
    if len(choices.unseen):
        return choices.table, named(spec, choices.unseen)
    return choices.table, fitted.network.predict(choices.table.matrix)


def unpublished(home: Path, version: int | None = None) -> Path:
    """Return home/<version>, by default 1 more than the highest there; `home` need not exist.

    Raises ExportError if that version is published.
    """
    following = max((int(path.name) for path in home.glob("*") if path.name.isdigit()), default=0) + 1
    place = home / str(version or following)
    if place.exists():
        raise ExportError(
            f"{place} exists, and a published version never changes;"
            f" leave the version out to write {following}"
        )
    return place


def _allowed(folder: Path) -> None:
    """Raise ExportError if the service would refuse an operation of the graph."""
    reasons = foreign(SavedModel.FromString((folder / "saved_model.pb").read_bytes()))
    if reasons:
        raise ExportError(f"{'; '.join(reasons)}; add it there if all it does is to compute its outputs")


def compare(folder: Path, network: Network, rows: Matrix) -> None:
    """Load the artifact and compare it with the network on `rows`: names, shapes, dtypes, then numbers.

    Raises ExportError with the first disagreement.
    """
    loaded = tf.saved_model.load(str(folder))
    for name, live in network.signatures.items():
        saved = loaded.signatures[name]
        if _interface(saved) != (expected := _interface(live.get_concrete_function())):
            raise ExportError(f"signature {name} is {_interface(saved)} after reloading, expected {expected}")
        answers = saved(x=tf.constant(rows))
        for output, values in live(tf.constant(rows)).items():
            apart = float(np.abs(answers[output].numpy() - values.numpy()).max())
            if not apart <= SAME:
                raise ExportError(
                    f"{name}: {output} differs by {apart:g} after reloading, at most {SAME:g} is rounding;"
                    " something in the graph is not saved with it"
                )


def complete(network: Network, rows: Matrix) -> None:
    """Raise ExportError if the attributions of `rows` do not add up to the predictions."""
    residual = max(
        _residual(network, rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE)
    )
    codes = [0, 1] if isinstance(network.spec.task, Binary) else labels(network.spec).tolist()
    allowed = UNEXPLAINED * (codes[-1] - codes[0])
    if not residual <= allowed:
        raise ExportError(
            f"attributions leave {residual:g} of a prediction unexplained, {allowed:g} is allowed;"
            " penalise the weights more, or use more nodes in training/network.py"
        )


def _residual(network: Network, rows: Matrix) -> float:
    answers = {name: values.numpy() for name, values in network.explain(tf.constant(rows)).items()}
    change = answers["prediction"] - answers["baseline_prediction"]
    return float(np.abs(change - answers["attributions"].sum(axis=1)).max())


def golden_inputs(spec: ModelSpec, matrix: Matrix) -> Matrix:
    """Return 11 rows made of each column's quantiles, float32 (11, d), none of them a row of a patient.

    Columns are rolled against each other, so that they vary differently; codes are codes that occur; a
    part never exceeds its whole. Raises ExportError if every roll meets a row of the table, unless the
    table holds every combination of its values, as AND's does: then there is nothing to keep private.
    """
    exhausted = len(np.unique(matrix, axis=0)) == prod(len(np.unique(column)) for column in matrix.T)
    for step in ROLLS:
        rows = _rolled(spec, matrix, step)
        if exhausted or not _common(rows, matrix):
            return rows
    raise ExportError(
        f"{spec.name}: {_common(rows, matrix)} of {len(rows)} golden rows are rows of the table, expected"
        f" none in one of {len(ROLLS)} ways to combine the quantiles; the table has too few columns or values"
    )


def _rolled(spec: ModelSpec, matrix: Matrix, step: int) -> Matrix:
    """Return each column's quantiles side by side, every column rolled by `step` more than the one before."""
    columns = [_quantiles(feature, matrix[:, place]) for place, feature in enumerate(spec.features)]
    rows = np.stack([np.roll(column, step * place) for place, column in enumerate(columns)], axis=1)
    names = [feature.name for feature in spec.features]
    for place, feature in enumerate(spec.features):
        if feature.at_most:
            rows[:, place] = np.minimum(rows[:, place], rows[:, names.index(feature.at_most)])
    return rows.astype(np.float32)


def _common(rows: Matrix, matrix: Matrix) -> int:
    """Count the rows that are rows of the matrix."""
    return sum(bool((matrix == row).all(axis=1).any()) for row in rows)


@contextmanager
def _published(place: Path) -> Iterator[Path]:
    """Yield a hidden folder that becomes `place` at the end, or is removed if anything fails."""
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        folder.chmod(0o755)  # mkdtemp's 0700 would keep the service's user out.
        yield folder
        for path in [*folder.rglob("*"), folder]:
            _flush(path)
        folder.rename(place)
    except BaseException:
        shutil.rmtree(folder)
        raise
    _flush(place.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _interface(
    function: tf.types.experimental.ConcreteFunction,
) -> dict[str, tuple[str, tuple[int | None, ...]]]:
    """Return dtype and shape by name: the input as `x`, then the outputs."""
    specs = {
        "x": function.structured_input_signature[1].get("x") or function.structured_input_signature[0][0]
    }
    specs |= function.structured_outputs
    return {name: (spec.dtype.name, tuple(spec.shape)) for name, spec in specs.items()}


def _golden(network: Network, table: Table) -> Golden:
    inputs = golden_inputs(network.spec, table.matrix)
    outputs = {name: values.tolist() for name, values in network.predict(inputs).items()}
    return Golden(inputs=inputs.tolist(), outputs=outputs)


def _seen(spec: ModelSpec, matrix: Matrix) -> Iterator[tuple[str, Seen]]:
    for feature, values in zip(spec.features, matrix.T, strict=True):
        yield feature.name, Seen(
            low=float(values.min()), high=float(values.max()), quantiles=_quantiles(feature, values).tolist(),
            levels=[int(code) for code in np.unique(values)] if feature.levels else None,
        )  # fmt: skip


def _quantiles(feature: Feature, values: Matrix) -> Matrix:
    # Between two codes there is none: only a quantity is interpolated.
    method: Literal["linear", "lower"] = "linear" if feature.kind == "quantity" else "lower"
    return np.quantile(values.astype(np.float64), QUANTILES, method=method).astype(np.float32)


def _training(network: Network, table: Table, recipe: str, seed: int) -> Training:
    return Training(
        recipe=recipe, seed=seed, rows=len(table), parameters=network.parameters,
        data_sha256=dict(table.sha256), code_revision=revision(),
        libraries={name: _version(name) for name in LIBRARIES},
    )  # fmt: skip


def _version(library: str) -> str:
    # tensorflow-cpu and tensorflow install the same module under two names.
    return tf.__version__ if library == "tensorflow" else library_version(library)


def revision() -> str:
    """Return the commit that trains, `-dirty` if the tree differs; outside of git, what REVISION says."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("REVISION", "unknown")
    return found.stdout.strip()
