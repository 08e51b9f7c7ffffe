"""Real SavedModels: the committed artifacts as they are, and copies of one that were tampered with."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from servers import client_of
from service.app import create_app
from service.errors import ArtifactRejected, DeviceUnavailable, ModelFailure
from service.features import to_matrix
from service.manifest import Manifest, digests, verified
from service.models import MODELS
from service.registry import Registry
from service.servable import SavedModelServable, choose_device, load
from service.settings import Settings
from service.spec import ModelSpec
from service.tasks import Multiclass
from training.table import read

ARTIFACTS = Path(__file__).parent.parent / "artifacts"
GATE = MODELS["and_gate"]


def relisted(folder: Path, change: Callable[[Manifest], Manifest] = lambda manifest: manifest) -> None:
    """Write the manifest anew, with the digests of the files as they are now."""
    manifest = change(Manifest.read(folder)).model_copy(update={"files": digests(folder)})
    manifest.write(folder)


def rejection(folder: Path, spec: ModelSpec = GATE) -> str:
    """Why this folder is not served."""
    with pytest.raises(ArtifactRejected) as caught:
        SavedModelServable(folder, spec)
    return str(caught.value)


def test_every_committed_artifact_is_served(loaded: Registry) -> None:
    """All five pass declaration, digests, signature and golden rows on this machine."""
    assert loaded.ready
    assert loaded.reasons() == {}
    assert all(not reasons for reasons in loaded.rejected.values())


def test_every_artifact_is_small(spec: ModelSpec) -> None:
    """Under three megabytes each, plots and the wines of a kernel machine included."""
    for version in (ARTIFACTS / spec.name).iterdir():
        assert sum(path.stat().st_size for path in version.rglob("*") if path.is_file()) < 3_000_000


@pytest.mark.anyio
async def test_predictions_equal_the_saved_model_called_directly(loaded: Registry, spec: ModelSpec) -> None:
    """HTTP adds nothing: the answer is what the signature returns, but for the folding of constants."""
    folder = ARTIFACTS / spec.name / str(loaded.servable(spec.name).version)
    direct = tf.saved_model.load(str(folder))
    matrix = to_matrix(spec.row, [spec.row.model_validate(spec.example)])
    outputs = direct.signatures["serving_default"](x=tf.constant(matrix))
    async with client_of(create_app(Settings(), loaded)) as client:
        body = {"instances": [dict(spec.example)]}
        answer = (await client.post(f"/models/{spec.name}/predict", json=body)).json()["predictions"][0]

    said = answer | answer["applicability"]
    for output in spec.outputs:
        values = outputs[output.name].numpy()[0].tolist()
        if isinstance(spec.task, Multiclass) and output.width:
            values = {str(label): share for label, share in zip(spec.task.classes, values, strict=True)}
        assert said[output.name] == pytest.approx(values, rel=1e-6, abs=2e-6)


def test_one_row_gets_the_same_answer_alone_and_among_many(loaded: Registry, spec: ModelSpec) -> None:
    """The graph treats rows one by one, to float32's rounding."""
    servable = loaded.servable(spec.name)
    rows = np.asarray(servable.manifest.golden.inputs, np.float32)
    many = np.tile(rows, (20, 1))

    for name, values in servable.predict(many).items():
        assert len(values) == len(many)
        for row in (*range(len(rows)), len(many) - 1):
            alone = servable.predict(many[row : row + 1])[name][0]
            np.testing.assert_allclose(values[row], alone, rtol=1e-6, atol=1e-5)


def test_a_row_gets_the_same_bits_in_any_company(loaded: Registry, spec: ModelSpec) -> None:
    """And alone the same to 1e-4, though it stands in the table: its distance to itself is hard to round."""
    servable = loaded.servable(spec.name)
    table = np.resize(read(spec).matrix, (6400, len(spec.features)))
    rows = table[np.random.default_rng(1).permutation(len(table))[:640]]

    whole = servable.predict(rows)

    for start, end in ((0, 2), (3, 6), (50, 63), (100, 131), (7, 71), (1, 250), (90, 637), (1, 640)):
        part = servable.predict(rows[start:end])
        assert all(np.array_equal(part[name], values[start:end]) for name, values in whole.items())
    alone = [servable.predict(row[None]) for row in rows]
    for name, values in whole.items():
        assert np.abs(np.concatenate([one[name] for one in alone]) - values).max() < 1e-4


def test_one_row_is_explained_alike_alone_and_among_many(loaded: Registry, spec: ModelSpec) -> None:
    """A row's path from the baseline is its own."""
    servable = loaded.servable(spec.name)
    rows = np.asarray(servable.manifest.golden.inputs[:5], np.float32)

    together = servable.explain(rows)

    assert together["attributions"].shape == rows.shape
    for row in range(len(rows)):
        alone = servable.explain(rows[row : row + 1])
        np.testing.assert_allclose(together["attributions"][row], alone["attributions"][0], atol=1e-5)
        np.testing.assert_allclose(together["prediction"][row], alone["prediction"][0], atol=1e-5)


def test_probabilities_are_probabilities(loaded: Registry, spec: ModelSpec) -> None:
    """Between 0 and 1, and summing to 1 where they are all there."""
    servable = loaded.servable(spec.name)
    outputs = servable.predict(np.asarray(servable.manifest.golden.inputs, np.float32))
    shares = [values for name, values in outputs.items() if name.startswith("probabilit")]

    for values in shares:
        assert ((values >= 0) & (values <= 1)).all()
    if len(shares) == 2:
        np.testing.assert_allclose(shares[0] + shares[1], 1, atol=1e-6)
    if shares and shares[0].ndim == 2:
        np.testing.assert_allclose(shares[0].sum(axis=1), 1, atol=1e-6)


def test_explanations_are_complete(loaded: Registry, spec: ModelSpec) -> None:
    """Attributions add up to the difference from the baseline, to a thousandth of the output's range."""
    servable = loaded.servable(spec.name)
    example = to_matrix(spec.row, [spec.row.model_validate(spec.example)])
    rows = np.concatenate([np.asarray(servable.manifest.golden.inputs, np.float32), example])
    outputs = servable.explain(rows)

    residual = outputs["prediction"] - outputs["baseline_prediction"] - outputs["attributions"].sum(axis=1)
    span = 6 if spec.name in ("wine_quality", "wine_grade") else 1  # grades 3 to 9; a probability
    assert np.abs(residual).max() < 1e-3 * span
    np.testing.assert_allclose(outputs["prediction"], servable.predict(rows)[spec.explained], atol=1e-5)


def test_the_baseline_itself_has_no_attributions(loaded: Registry, spec: ModelSpec) -> None:
    """The row that attributions count from differs from itself in nothing."""
    servable = loaded.servable(spec.name)
    baseline = servable.explain(np.asarray(servable.manifest.golden.inputs[:1], np.float32))["baseline"]

    assert np.abs(servable.explain(baseline)["attributions"]).max() < 1e-6


def test_distances_are_percentiles(loaded: Registry, spec: ModelSpec) -> None:
    """From 0 to 100 wherever a row lies, at the corners of what is physically possible too."""
    servable = loaded.servable(spec.name)
    low = [min(feature.levels.values(), default=feature.low or 0) for feature in spec.features]
    high = [max(feature.levels.values(), default=feature.high or 1) for feature in spec.features]
    corners = np.asarray([low, high], np.float32)
    golden = np.asarray(servable.manifest.golden.inputs, np.float32)
    distances = servable.predict(np.concatenate([golden, corners]))["distance_percentile"]

    assert ((distances >= 0) & (distances <= 100)).all()


def test_the_drawings_of_a_card_are_its_files(loaded: Registry, spec: ModelSpec) -> None:
    """PNG or SVG, as the manifest lists them."""
    servable = loaded.servable(spec.name)
    folder = ARTIFACTS / spec.name / str(servable.version)

    assert list(servable.drawings) == [drawing.file for drawing in servable.manifest.provenance.drawings]
    for file, content in servable.drawings.items():
        assert content == (folder / file).read_bytes()
        assert content.startswith(b"\x89PNG") if file.endswith(".png") else b"<svg" in content


@pytest.mark.parametrize("rows", [1, 8, 50])
def test_a_value_that_is_not_finite_never_comes_back_as_a_number(loaded: Registry, rows: int) -> None:
    """A NaN that got as far as the graph raises, where a fused relu might swallow it; one row's is enough."""
    servable = loaded.servable("wine_quality")
    matrix = np.repeat(np.float32([servable.manifest.golden.inputs[0]]), rows, axis=0)
    matrix[-1] = np.nan

    with pytest.raises(ModelFailure, match="non-finite"):
        servable.predict(matrix)


def test_a_flipped_byte_is_rejected_before_tensorflow_opens_the_file(artifact: Path) -> None:
    """The digest differs; the reason names the file."""
    graph = artifact / "saved_model.pb"
    content = bytearray(graph.read_bytes())
    content[len(content) // 2] ^= 1
    graph.write_bytes(content)

    assert "saved_model.pb was changed after export" in rejection(artifact)


def test_tensorflow_loads_what_was_verified_and_not_the_folder(artifact: Path) -> None:
    """Between the two somebody could exchange a file: here all are gone as soon as they were read."""
    contents = verified(artifact, Manifest.read(artifact).files)
    shutil.rmtree(artifact)

    assert {"serving_default", "explain"} <= load(contents).signatures.keys()


def test_no_bytes_of_a_version_stay_in_memory_beside_it(artifact: Path) -> None:
    """What TensorFlow read is removed again, if it failed too."""
    SavedModelServable(artifact, GATE)
    with pytest.raises(Exception, match="variables"):
        load({"saved_model.pb": (artifact / "saved_model.pb").read_bytes()})

    assert tf.io.gfile.glob("ram://*/*") == tf.io.gfile.glob("ram://*/variables/*") == []


def test_a_half_copied_version_is_rejected(artifact: Path) -> None:
    """A file that is not there yet is named."""
    (artifact / "variables/variables.index").unlink()

    assert "variables/variables.index is missing" in rejection(artifact)


def test_an_empty_folder_is_rejected(tmp_path: Path) -> None:
    """A version without a manifest is none."""
    (tmp_path / "1").mkdir()

    assert "manifest.json cannot be read" in rejection(tmp_path / "1")


def test_an_artifact_of_another_model_is_rejected(artifact: Path) -> None:
    """The declaration and the manifest are compared by name, in words."""
    assert "model is and_gate, the declaration has survival" in rejection(artifact, MODELS["survival"])


def test_a_renamed_version_is_rejected(artifact: Path) -> None:
    """Version 1 copied to 7 is not version 7."""
    renamed = artifact.rename(artifact.with_name("7"))

    assert "of another version" in rejection(renamed)


def test_golden_rows_that_do_not_reproduce_are_rejected(artifact: Path) -> None:
    """A device or a library that computes something else must not answer."""

    def off(manifest: Manifest) -> Manifest:
        outputs = manifest.golden.outputs
        shifted = {"probability": [value + 0.01 for value in outputs["probability"]]}
        golden = manifest.golden.model_copy(update={"outputs": outputs | shifted})
        return manifest.model_copy(update={"golden": golden})

    relisted(artifact, off)

    assert "golden rows: `probability` deviates by 0.01" in rejection(artifact)


def test_a_graph_without_the_signatures_is_rejected(artifact: Path) -> None:
    """A SavedModel that was made by other means lacks `explain`."""

    class Bare(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
        def predict(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probability": x[:, 0], "distance_percentile": x[:, 0]}

    bare = Bare()
    tf.saved_model.save(bare, str(artifact), signatures={"serving_default": bare.predict})
    relisted(artifact)

    assert "no signature `explain`" in rejection(artifact)


def test_an_explanation_of_another_shape_is_rejected(artifact: Path) -> None:
    """`explain` is tried before the version may answer, so that no client is the first to try it."""

    class Wordless(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
        def predict(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probability": x[:, 0] * x[:, 1], "distance_percentile": x[:, 0]}

    wordless = Wordless()
    signatures = {"serving_default": wordless.predict, "explain": wordless.predict}
    tf.saved_model.save(wordless, str(artifact), signatures=signatures)

    def gate(manifest: Manifest) -> Manifest:
        inputs = manifest.golden.inputs
        outputs = {
            "probability": [x1 * x2 for x1, x2 in inputs],
            "distance_percentile": [x1 for x1, _ in inputs],
        }
        return manifest.model_copy(update={"golden": manifest.golden.model_copy(update={"outputs": outputs})})

    relisted(artifact, gate)

    assert "signature `explain` answers" in rejection(artifact)


def test_a_graph_without_a_declared_output_is_rejected(artifact: Path) -> None:
    """A version that cannot say how far a row lies from those of training."""

    class Near(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "x")])
        def predict(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probability": x[:, 0]}

    near = Near()
    signatures = {"serving_default": near.predict, "explain": near.predict}
    tf.saved_model.save(near, str(artifact), signatures=signatures)
    relisted(artifact)

    assert "output `distance_percentile` is absent" in rejection(artifact)


def test_a_graph_of_another_width_is_rejected(artifact: Path) -> None:
    """The lecture's 17 inputs, or 3 for a gate of 2, do not fit the declaration."""

    class Wide(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, "x")])
        def predict(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probability": x[:, 0]}

    wide = Wide()
    signatures = {"serving_default": wide.predict, "explain": wide.predict}
    tf.saved_model.save(wide, str(artifact), signatures=signatures)
    relisted(artifact)

    assert "signature `serving_default` takes" in rejection(artifact)


def test_the_device_is_the_cpu_where_there_is_no_gpu() -> None:
    """`auto` takes what is there; `gpu` insists and says what to do."""
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")

    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(DeviceUnavailable, match="DEVICE=cpu"):
        choose_device("gpu")
