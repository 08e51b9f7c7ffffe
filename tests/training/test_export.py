import json
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from service.features import part_violations
from service.manifest import Figure, Manifest, Quality, changed_files, differences
from service.models import MODELS
from training import and_gate
from training.export import ExportError, _rolled, compare, export, golden_inputs
from training.fit import fit
from training.table import read

QUALITY = Quality(
    protocol="none: a fit of a second",
    rows=160,
    metrics={"loss": Figure(value=1.0)},
    baseline={"loss": Figure(value=1.0)},
)


def published(fitted, table, root, **more):
    beside = more.pop("beside", lambda folder, _: (folder / "card.md").write_text("# card\n"))
    return export(fitted.network, table, QUALITY, root, recipe="quick", seed=1, beside=beside, **more)


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
    assert changed_files(artifacts[name], manifest.files) == []
    assert set(manifest.seen) == {feature.name for feature in MODELS[name].features}
    assert manifest.version == 1


@pytest.mark.parametrize("name", MODELS)
def test_the_manifests_prior_is_in_the_order_of_the_classes(artifacts, small, name):
    """The share of 0 comes before that of 1, grade 3 before grade 9; for a number it is the mean."""
    targets = small[name].targets
    codes = {"wine_quality": None, "wine_grade": range(3, 10)}.get(name, (0, 1))
    shares = [(targets == code).mean() for code in codes] if codes else [targets.mean()]

    assert len(shares) == 1 or shares != shares[::-1]
    assert Manifest.read(artifacts[name]).prior == pytest.approx(shares)


@pytest.mark.parametrize("name", MODELS)
def test_golden_rows_are_reproduced_by_the_reloaded_artifact(artifacts, name):
    """The manifest's inputs give the manifest's outputs, read back from JSON."""
    golden = json.loads((artifacts[name] / "manifest.json").read_text())["golden"]
    loaded = tf.saved_model.load(str(artifacts[name]))
    answers = loaded.signatures["serving_default"](x=tf.constant(golden["inputs"], tf.float32))

    for output, values in golden["outputs"].items():
        assert np.abs(answers[output].numpy() - values).max() <= 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_golden_rows_are_valid_and_vary(tables, name):
    """Eleven rows that the declaration accepts, with columns that do not all vary alike."""
    spec = MODELS[name]
    rows = golden_inputs(spec, tables[name].matrix)

    assert rows.shape == (11, len(spec.features))
    assert [_row(spec, codes) for codes in rows]
    assert not list(part_violations(spec.row, rows))
    assert len(np.unique(rows, axis=0)) > 2


@pytest.mark.parametrize("name", [name for name in MODELS if name != "and_gate"])
def test_no_golden_row_is_a_row_of_the_table(tables, name):
    """Golden rows are published with the artifact, so none may be a patient; AND has no others."""
    rows = golden_inputs(MODELS[name], tables[name].matrix)

    assert not any((tables[name].matrix == row).all(axis=1).any() for row in rows)


def test_golden_rows_are_rolled_otherwise_until_none_is_a_row_of_the_table(tables):
    """A patient put where the first choice lies makes it choose again; the other columns stay quantiles."""
    matrix = tables["survival"].matrix
    first = golden_inputs(MODELS["survival"], matrix)
    # The quantiles of 470 patients hardly move by one more, so the same rows are the first choice again.
    met = np.concatenate([matrix, first[5:6]])
    assert (_rolled(MODELS["survival"], met, 3) == first[5]).all(axis=1).any()
    second = golden_inputs(MODELS["survival"], met)

    assert not (second == first[5]).all(axis=1).any()
    assert not any((met == row).all(axis=1).any() for row in second)


def test_golden_rows_that_must_be_rows_of_the_table_are_refused(tables):
    """Three of the four rows of AND: every roll meets one of them, though 1 AND 1 is not in the table."""
    with pytest.raises(ExportError, match="golden rows are rows of the table, expected none"):
        golden_inputs(MODELS["and_gate"], tables["and_gate"].matrix[:3])


@pytest.mark.parametrize("name", MODELS)
def test_attributions_add_up_to_the_prediction(artifacts, fitted, tables, name):
    """Prediction minus the baseline's prediction is the sum of the attributions, within 1e-4."""
    matrix = tables[name].matrix[:: max(1, len(tables[name]) // 100)]
    answers = fitted[name].network.explain(tf.constant(matrix))
    answers = {output: values.numpy() for output, values in answers.items()}
    change = answers["prediction"] - answers["baseline_prediction"]

    assert np.abs(change).max() > 1e-3
    assert np.abs(answers["attributions"].sum(axis=1) - change).max() < 1e-4
    assert np.allclose(
        answers["prediction"], fitted[name].network.predict(matrix)[MODELS[name].explained], atol=1e-6
    )


def test_a_network_too_steep_to_explain_is_not_exported(small, quick, tmp_path):
    """With weights a hundredfold the answer is a cliff: attributions do not add up, and nothing is left."""
    steep = fit(MODELS["survival"], quick, small["survival"])
    steep.network.core.set_weights([100 * one for one in steep.network.core.get_weights()])

    with pytest.raises(ExportError, match="attributions leave"):
        published(steep, small["survival"], tmp_path)

    assert list((tmp_path / "survival").iterdir()) == []


def test_the_and_gates_own_recipe_is_explained_completely():
    """The steepest of the five: each of its four rows adds up within 1e-5 for the recipe that is served."""
    table = read(MODELS["and_gate"])
    network = fit(MODELS["and_gate"], and_gate.RECIPE, table).network
    answers = {name: values.numpy() for name, values in network.explain(tf.constant(table.matrix)).items()}
    change = answers["prediction"] - answers["baseline_prediction"]

    assert change.max() > 0.9
    assert np.abs(answers["attributions"].sum(axis=1) - change).max() < 1e-5


def test_a_feature_at_its_baseline_gets_no_attribution(fitted):
    """Moving only the age from the baseline row attributes everything to the age."""
    network = fitted["survival"].network
    row = network.encoding.baseline.numpy()
    row[0, 15] += 10
    attributions = network.explain(tf.constant(row))["attributions"].numpy()[0]

    assert attributions[15] != 0
    assert not attributions[:15].any()


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


def test_a_failed_export_leaves_nothing_behind(fitted, small, tmp_path):
    """An error half-way, here in the card, removes what was written; the next export is version 1."""

    def fail(folder, version):
        assert (folder / "saved_model.pb").exists()
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        published(fitted["and_gate"], small["and_gate"], tmp_path, beside=fail)

    assert list((tmp_path / "and_gate").iterdir()) == []
    assert published(fitted["and_gate"], small["and_gate"], tmp_path).name == "1"


def test_an_artifact_that_differs_from_the_network_is_refused(artifacts, fitted):
    """After the export the live network is moved: the comparison names the output that differs."""
    network = fitted["wine_quality"].network
    rows = golden_inputs(network.spec, np.float32([network.encoding.baseline.numpy()[0]] * 3))
    kept = float(network.centre)
    network.centre.assign(kept + 0.01)
    try:
        with pytest.raises(ExportError, match=r"quality differs by 0\.01"):
            compare(artifacts["wine_quality"], network, rows)
    finally:
        network.centre.assign(kept)


def test_an_artifact_of_another_interface_is_refused(artifacts, fitted):
    """The folder of another model is told by its signature."""
    with pytest.raises(ExportError, match="signature serving_default"):
        compare(artifacts["survival"], fitted["and_gate"].network, np.zeros((1, 2), np.float32))


def test_files_beside_the_graph_are_digested_and_readable(fitted, small, tmp_path):
    """The card is listed with its digest, and the folder is open to the service's user."""
    folder = published(
        fitted["and_gate"],
        small["and_gate"],
        tmp_path,
        beside=lambda place, _: (place / "card.md").write_text("# card"),
    )

    assert "card.md" in Manifest.read(folder).files
    assert folder.stat().st_mode & 0o777 == 0o755


def test_levels_that_training_lacks_are_not_in_what_it_saw(tables, fitted, tmp_path):
    """Diagnosis DGN7 never occurs; the manifest says which did, so that the service can name the others."""
    folder = published(replace(fitted["survival"]), tables["survival"], tmp_path)

    assert Manifest.read(folder).seen["diagnosis"].levels == [1, 2, 3, 4, 5, 6, 8]


def _row(spec, codes):
    """The row of these codes as a client would write it; validation refuses a code that is none."""
    pairs = zip(spec.features, codes.tolist(), strict=True)
    return spec.row.model_validate({feature.name: feature.parse(f"{code:g}") for feature, code in pairs})
