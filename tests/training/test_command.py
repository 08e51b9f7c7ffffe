import pytest

from service.manifest import Manifest
from training import and_gate, command, linear, survival, wine
from training.fit import trivial


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The AND gate trained by its script, with its artifacts folder."""
    root = tmp_path_factory.mktemp("published")
    and_gate.main(["--artifacts", str(root)])
    return root


def test_a_script_publishes_a_complete_artifact(trained):
    """SavedModel, manifest, card and learning curve; the manifest lists them with the figures."""
    folder = trained / "and_gate" / "1"
    manifest = Manifest.read(folder)

    assert {"saved_model.pb", "card.md", "learning_curve.png"} < set(manifest.files)
    assert manifest.quality.metrics["accuracy"].value == 1
    assert manifest.quality.classical["accuracy"].value == 1
    assert manifest.quality.baseline["accuracy"].value == 0.75
    assert manifest.training.parameters == 17


def test_the_same_seed_trains_the_same_artifact(trained, tmp_path):
    """Run again, the script finds the same figures and golden answers to the last digit; seed 2 does not."""
    and_gate.main(["--artifacts", str(tmp_path)])
    and_gate.main(["--artifacts", str(tmp_path), "--seed", "2"])
    one, same, other = (
        Manifest.read(folder / "and_gate" / version)
        for folder, version in ((trained, "1"), (tmp_path, "1"), (tmp_path, "2"))
    )

    assert one.quality == same.quality
    assert one.golden == same.golden
    assert one.golden.outputs != other.golden.outputs


def test_the_card_names_purpose_data_metrics_and_command(trained):
    """A person reads beside the artifact what it is and how it was made."""
    card = (trained / "and_gate" / "1" / "card.md").read_text()

    for part in (
        "x1 AND x2",
        "truth table",
        "| metric | model | 95 % interval | linear model | trivial baseline |\n|---|---|---|---|---|\n",
        "| accuracy | 1.0000 |  | 1.0000 | 0.7500 |",
        "    python -m training.and_gate --model and_gate --recipe default --seed 1\n",
        "Known errors: None.",
        "- A demonstration",
        "parameters: 17",
    ):
        assert part in card


def test_training_an_existing_version_is_refused_before_it_starts(trained, capsys):
    """The exit names the model, the version and what to do, and nothing is fitted first."""
    with pytest.raises(SystemExit, match=r"and_gate: .* leave the version out"):
        and_gate.main(["--artifacts", str(trained), "--version", "1"])

    assert "Total params" not in capsys.readouterr().out


@pytest.mark.parametrize("script", [and_gate, survival, wine])
def test_help_shows_the_command_to_run(script, capsys):
    """--help prints the script's docstring with an example, and exits well."""
    with pytest.raises(SystemExit) as caught:
        script.main(["--help"])

    assert caught.value.code == 0
    assert "python -m training." in capsys.readouterr().out


def test_the_card_names_the_script_that_ran():
    """A model trained by another script is made again by that one, whatever the model is called."""
    arguments = command.parser("/anywhere/grapes.py", None, ["wine_type"]).parse_args(["--seed", "7"])

    assert command.Made.by(arguments).line(command.MODELS["wine_type"]) == (
        "python -m training.grapes --model wine_type --recipe default --seed 7"
    )


def test_folds_of_a_tiny_run_are_described_in_the_protocol(small):
    """Quality says on how many rows and folds it was measured, beside the baseline's figures."""
    spec = command.MODELS["survival"]
    protocol = command.Protocol(folds=3, resamples=20)
    quality = command.measure(spec, small["survival"], trivial(spec), protocol, linear.fit_predict(spec))

    assert "3 folds" in quality.protocol
    assert quality.rows == 160
    assert quality.metrics == quality.baseline != quality.classical
    assert quality.metrics.keys() == quality.classical.keys()
    assert quality.metrics["brier"].low < quality.metrics["brier"].value < quality.metrics["brier"].high
