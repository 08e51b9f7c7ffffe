import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from service.features import part_violations
from service.manifest import Manifest, differences, verified
from service.models import MODELS
from service.quality import Figure, Quality
from training import export as export_module
from training.export import ExportError, compare, complete, export
from training.fit import fit
from training.network import Network
from training.table import source_of

pytestmark = pytest.mark.slow

BETTER = Figure(value=0.2, low=0.1, high=0.3)
QUALITY = Quality(
    protocol="none: a fit of a second", rows=160, metrics={"loss": Figure(value=1.0)},
    baseline={"loss": Figure(value=1.2)}, margin=BETTER,
)  # fmt: skip


def published(fitted, table, root, quality=QUALITY, **more):
    return export(
        fitted, table, quality, root, recipe="quick", seed=1, made_by="pytest",
        source=source_of(fitted.network.spec), **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def artifacts(fitted, small, tmp_path_factory):
    """One exported artifact of each model, by name."""
    root = tmp_path_factory.mktemp("artifacts")
    return {name: published(fitted[name], small[name], root) for name in MODELS}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [1, 2, 1000])
def test_the_reloaded_artifact_answers_as_the_live_network(artifacts, fitted, tables, name, rows):
    """Both signatures give the numbers of the fitted network, whatever the batch."""
    matrix = np.resize(tables[name].matrix, (rows, tables[name].matrix.shape[1]))
    loaded = tf.saved_model.load(str(artifacts[name]))
    saved = loaded.signatures["serving_default"](x=tf.constant(matrix))
    live = fitted[name].network.predict(matrix)

    assert sorted(saved) == sorted(live)
    for output, values in live.items():
        assert np.abs(saved[output].numpy() - values).max() <= 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_the_signatures_have_the_declared_names_shapes_and_dtypes(artifacts, name):
    """One input x, [None, d] float32; outputs by their names; explain answers with its baseline."""
    spec = MODELS[name]
    loaded = tf.saved_model.load(str(artifacts[name]))
    serve, explain = loaded.signatures["serving_default"], loaded.signatures["explain"]
    width = len(spec.features)

    for signature in (serve, explain):
        assert signature.structured_input_signature[1] == {
            "x": tf.TensorSpec([None, width], tf.float32, name="x")
        }
    assert {key: (tuple(value.shape), value.dtype) for key, value in serve.structured_outputs.items()} == {
        output.name: ((None, output.width) if output.width else (None,), tf.float32)
        for output in spec.outputs
    }
    assert {key: tuple(value.shape) for key, value in explain.structured_outputs.items()} == {
        "attributions": (None, width),
        "baseline": (1, width),
        "baseline_prediction": (1,),
        "prediction": (None,),
    }


@pytest.mark.parametrize("name", MODELS)
def test_the_manifest_agrees_with_the_declaration_and_the_files(artifacts, name):
    """What the service checks before it serves holds for every model that training exports."""
    manifest = Manifest.read(artifacts[name])

    assert differences(manifest, MODELS[name]) == []
    assert verified(artifacts[name], manifest.files).keys() == manifest.files.keys()
    assert set(manifest.seen) == {feature.name for feature in MODELS[name].features}
    assert manifest.version == 1


def test_the_manifest_counts_the_rows_that_were_fitted(tables, quick, tmp_path):
    """Copies count once, as they do in the fit: 1 AND 1 three times is a truth table of four rows."""
    table = tables["and_gate"].take(np.array([0, 1, 2, 3, 3, 3]))
    folder = published(fit(MODELS["and_gate"], quick["and_gate"], table), table, tmp_path)

    assert Manifest.read(folder).training.rows == 4


@pytest.mark.parametrize("name", MODELS)
def test_the_manifests_prior_is_in_the_order_of_the_classes(artifacts, small, name):
    """The share of 0 comes before that of 1, grade 3 before grade 9."""
    codes = range(3, 10) if name in ("wine_quality", "wine_grade") else (0, 1)
    shares = [(small[name].targets == code).mean() for code in codes]

    assert shares != shares[::-1]
    assert Manifest.read(artifacts[name]).prior == pytest.approx(shares)


@pytest.mark.parametrize("name", MODELS)
def test_the_manifest_has_the_critical_values_that_were_chosen(artifacts, fitted, name):
    """For each coverage; the gate, which promises nothing, has none."""
    critical = Manifest.read(artifacts[name]).critical

    assert critical == fitted[name].critical
    assert list(critical) == ([] if name == "and_gate" else ["0.8", "0.9", "0.95"])


@pytest.mark.parametrize("name", MODELS)
def test_golden_rows_are_reproduced_by_the_reloaded_artifact(artifacts, name):
    """The manifest's inputs give the manifest's outputs, read back from JSON."""
    golden = json.loads((artifacts[name] / "manifest.json").read_text())["golden"]
    loaded = tf.saved_model.load(str(artifacts[name]))
    answers = loaded.signatures["serving_default"](x=tf.constant(golden["inputs"], tf.float32))

    for output, values in golden["outputs"].items():
        assert np.abs(answers[output].numpy() - values).max() <= 1e-5


def test_a_network_too_steep_to_explain_is_not_exported(small, quick, tmp_path):
    """With weights a hundredfold the answer is a cliff: attributions do not add up, and nothing is left."""
    recipe = replace(quick["survival"], epochs=1, choices=0)
    steep = fit(MODELS["survival"], recipe, small["survival"])
    core = steep.network.learners[0].core
    core.set_weights([100 * one for one in core.get_weights()])

    with pytest.raises(ExportError, match="attributions leave"):
        published(steep, small["survival"], tmp_path)

    assert list((tmp_path / "survival").iterdir()) == []


def test_what_attributions_may_leave_is_a_thousandth_of_the_range(fitted, small):
    """A network whose attributions miss 0.002 of a probability is told so, with both numbers."""

    class Off:
        spec = MODELS["survival"]

        def explain(self, rows):
            answers = dict(fitted["survival"].network.explain(rows))
            return answers | {"prediction": answers["prediction"] + 0.002}

    with pytest.raises(ExportError, match=r"leave 0\.00\d+ of a prediction unexplained, 0\.001 is allowed"):
        complete(Off(), small["survival"].matrix[:5])


def test_the_baseline_is_a_valid_row(fitted):
    """The row that attributions start from is one that a client could send."""
    for name, one in fitted.items():
        baseline = one.network.encoding.baseline.numpy()

        assert _row(MODELS[name], baseline[0])
        assert not list(part_violations(MODELS[name].row, baseline))


def test_the_id_never_reaches_an_artifact(artifacts):
    """The survival artifact takes the 16 clinical inputs; no column is called id."""
    manifest = Manifest.read(artifacts["survival"])

    assert len(manifest.features) == len(manifest.golden.inputs[0]) == 16
    assert "id" not in {feature.name for feature in manifest.features}


def test_the_next_free_version_is_taken(fitted, small, tmp_path):
    """Versions count up from the highest; files and hidden folders beside them count for nothing."""
    (tmp_path / "and_gate" / "7").mkdir(parents=True)
    (tmp_path / "and_gate" / ".9-left").mkdir()
    (tmp_path / "and_gate" / "labels.json").write_text("{}")

    assert published(fitted["and_gate"], small["and_gate"], tmp_path).name == "8"


def test_a_published_version_is_never_overwritten(artifacts, fitted, small):
    """Asking for an existing version is refused, says which is free, and changes nothing."""
    home = artifacts["and_gate"].parent
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}

    with pytest.raises(ExportError, match="leave the version out to write 2"):
        published(fitted["and_gate"], small["and_gate"], home.parent, version=1)

    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


def test_a_failed_export_leaves_nothing_behind(fitted, small, tmp_path, monkeypatch):
    """An error half-way, here in the card, removes what was written; until then no version was to be seen."""
    seen = []

    def fail(spec, manifest):
        seen.extend(path.name for path in (tmp_path / "and_gate").iterdir())
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export_module, "card", fail)
        with pytest.raises(OSError, match="no space"):
            published(fitted["and_gate"], small["and_gate"], tmp_path)

    assert len(seen) == 1
    assert seen[0].startswith(".1-")
    assert list((tmp_path / "and_gate").iterdir()) == []
    assert published(fitted["and_gate"], small["and_gate"], tmp_path).name == "1"


def test_a_graph_that_is_not_the_network_is_not_published(fitted, small, tmp_path, monkeypatch):
    """What is saved was tampered with on its way: the reloaded numbers differ, and nothing is left."""
    network, save = fitted["and_gate"].network, tf.saved_model.save

    def tamper(saved, *arguments, **more):
        shift = network.calibration.shift.numpy()
        network.calibration.shift.assign_add([0, 0.01])
        save(saved, *arguments, **more)
        network.calibration.shift.assign(shift)

    monkeypatch.setattr(tf.saved_model, "save", tamper)
    with pytest.raises(ExportError, match=r"probability differs by .* after reloading"):
        published(fitted["and_gate"], small["and_gate"], tmp_path)

    assert list((tmp_path / "and_gate").iterdir()) == []


class Talking(tf.Module):
    """A distance that writes to the log of whoever asks for it."""

    def __init__(self, distance):
        super().__init__()
        self.distance = distance

    def __call__(self, x):
        with tf.control_dependencies([tf.print(x)]):
            return tf.identity(self.distance(x))


def test_a_graph_that_the_service_would_refuse_is_not_published(fitted, small, tmp_path):
    """Its operations are looked at before anybody loads it; the reason says where they are listed."""
    net = fitted["and_gate"].network
    parts = net.spec, net.encoding, net.learners, [1.0], net.calibration, Talking(net.distance)

    with pytest.raises(ExportError, match=r"operation PrintV2, which service/graph.py .* add it there"):
        published(replace(fitted["and_gate"], network=Network(*parts)), small["and_gate"], tmp_path)
    assert list((tmp_path / "and_gate").iterdir()) == []


def test_an_artifact_that_differs_from_the_network_is_refused(artifacts, fitted):
    """After the export the live network is moved a little: the comparison names the output that differs."""
    network = fitted["wine_quality"].network
    rows = np.repeat(network.encoding.baseline.numpy(), 3, axis=0)
    kept = float(network.calibration.slope)
    compare(artifacts["wine_quality"], network, rows)
    network.calibration.slope.assign(kept * 1.01)
    try:
        with pytest.raises(ExportError, match=r"serving_default: \w*quality differs by 0\.0\d+"):
            compare(artifacts["wine_quality"], network, rows)
    finally:
        network.calibration.slope.assign(kept)


def test_an_artifact_of_another_interface_is_refused(artifacts, fitted):
    """The folder of another model is told by its signature."""
    with pytest.raises(ExportError, match="signature serving_default"):
        compare(artifacts["survival"], fitted["and_gate"].network, np.zeros((1, 2), np.float32))


@pytest.mark.parametrize("name", MODELS)
def test_card_and_drawings_are_digested_and_shown(artifacts, name):
    """Every drawing that the manifest names is a file with a digest, and stands in the card."""
    manifest, card = Manifest.read(artifacts[name]), (artifacts[name] / "card.md").read_text()
    drawings = [drawing.file for drawing in manifest.provenance.drawings]

    assert "learning_curve.png" in drawings
    assert ("residuals.png" if name == "wine_quality" else "confusion.png") in drawings
    assert {"saved_model.pb", "card.md", *drawings} <= set(manifest.files)
    assert all(f"]({drawing})" in card for drawing in drawings)


def test_an_artifact_is_readable_by_the_services_user(artifacts):
    """The hidden folder was this user's alone; the version is not."""
    assert artifacts["and_gate"].stat().st_mode & 0o777 == 0o755


def test_levels_that_training_lacks_are_not_in_what_it_saw(tables, fitted, tmp_path):
    """Diagnosis DGN7 never occurs; the manifest says which did, so that the service can name the others."""
    folder = published(fitted["survival"], tables["survival"], tmp_path)

    assert Manifest.read(folder).seen["diagnosis"].levels == [1, 2, 3, 4, 5, 6, 8]


def _row(spec, codes):
    """The row of these codes as a client would write it; validation refuses a code that is none."""
    pairs = zip(spec.features, codes.tolist(), strict=True)
    return spec.row.model_validate({feature.name: feature.parse(f"{code:g}") for feature, code in pairs})
