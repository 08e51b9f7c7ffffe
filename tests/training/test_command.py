import shutil

import pytest

from service.manifest import Manifest
from service.quality import Figure, Quality
from training import and_gate, command, report, survival, wine
from training.recipes import RECIPES

pytestmark = pytest.mark.slow

ON_RECORD = Quality(
    protocol="On record.", rows=4, metrics={"accuracy": Figure(value=1.0), "brier": Figure(value=0.0625)},
    baseline={"accuracy": Figure(value=0.75)}, others={"linear": {"accuracy": Figure(value=0.5)}},
    margin=Figure(value=0.5, low=0.25, high=0.75),
)  # fmt: skip


def train(root, *more):
    """Run the AND gate's script below `root`; artifacts, figures and runs are all there."""
    folders = [f"--{name}={root / name}" for name in ("artifacts", "figures", "runs")]
    and_gate.main([*folders, *more])
    return root / "artifacts" / "and_gate"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The AND gate trained by its script, with figures on record."""
    root = tmp_path_factory.mktemp("published")
    report.write(root / "figures", "and_gate", ON_RECORD)
    train(root)
    return root


def test_a_script_publishes_a_complete_artifact_with_the_figures_on_record(trained):
    """SavedModel, manifest, card and drawings; nothing is measured again."""
    folder = trained / "artifacts" / "and_gate" / "1"
    manifest = Manifest.read(folder)

    assert {"saved_model.pb", "card.md", "learning_curve.png", "confusion.png"} < set(manifest.files)
    assert manifest.quality == ON_RECORD
    assert manifest.training.parameters == 17
    assert not (trained / "runs").exists()


def test_without_figures_on_record_the_model_is_measured_first(studied, tmp_path):
    """On the fits below runs/report, computed if absent; the artifact bears what was measured."""
    shutil.copytree(studied[0], tmp_path / "runs" / "report")
    quality = Manifest.read(train(tmp_path) / "1").quality

    assert quality == report.measure("and_gate", report.protocol_of("and_gate"), studied[0], others=())
    assert quality.metrics["accuracy"].value == 1
    assert quality.baseline["accuracy"].value == 0.75
    assert not (tmp_path / "figures").exists()


def test_the_same_seed_trains_the_same_artifact(trained, tmp_path):
    """Run again, the script finds the same golden answers to the last digit; seed 2 does not."""
    shutil.copytree(trained / "figures", tmp_path / "figures")
    train(tmp_path)
    home = train(tmp_path, "--seed", "2")
    one, same, other = (
        Manifest.read(path) for path in (trained / "artifacts" / "and_gate" / "1", home / "1", home / "2")
    )

    assert one.golden == same.golden
    assert one.golden.outputs != other.golden.outputs
    assert (same.training.seed, other.training.seed) == (1, 2)


def test_the_card_names_purpose_data_metrics_and_command(trained):
    """A person reads beside the artifact what it is and how it was made."""
    card = (trained / "artifacts" / "and_gate" / "1" / "card.md").read_text()

    for part in (
        "x1 AND x2",
        "truth table",
        "| metric | model | 95 % interval | trivial | linear |\n|---|---|---|---|---|\n",
        "| accuracy | 1.0000 |  | 0.7500 | 0.5000 |",
        "    python -m training.and_gate --model and_gate --recipe default --seed 1\n",
        "Known errors: None.",
        "- A demonstration",
        "parameters: 17",
    ):
        assert part in card


def test_the_gates_refusal_ends_the_script_unless_it_is_forced(tmp_path):
    """A model whose margin reaches below 0 is not published; --force publishes it and says so."""
    worse = ON_RECORD.model_copy(update={"margin": Figure(value=0.1, low=-0.1, high=0.3)})
    report.write(tmp_path / "figures", "and_gate", worse)

    with pytest.raises(SystemExit, match=r"and_gate: the loss is 0\.1000 below .*--force"):
        train(tmp_path)
    assert not (tmp_path / "artifacts" / "and_gate").exists()

    assert Manifest.read(train(tmp_path, "--force") / "1").provenance.forced


def test_training_an_existing_version_is_refused_before_it_starts(trained, capsys):
    """The exit names the model, the version and what to do, and nothing is fitted first."""
    with pytest.raises(SystemExit, match=r"and_gate: .* leave the version out"):
        train(trained, "--version", "1")

    assert "parameters" not in capsys.readouterr().out


@pytest.mark.parametrize("script", [and_gate, survival, wine])
def test_help_shows_the_command_to_run(script, capsys):
    """--help prints the script's docstring with an example, and exits well."""
    with pytest.raises(SystemExit) as caught:
        script.main(["--help"])

    assert caught.value.code == 0
    assert "python -m training." in capsys.readouterr().out


def test_every_model_has_a_recipe_and_a_script():
    """What is declared can be trained."""
    assert set(RECIPES) == set(command.MODELS) == {"and_gate", "survival", *wine.MODELS}


def test_the_card_names_the_script_that_ran():
    """A model trained by another script is made again by that one, whatever the model is called."""
    arguments = command.parser("/anywhere/grapes.py", None, ["wine_type"]).parse_args(["--seed", "7"])

    assert command.Made.by(arguments).line(command.MODELS["wine_type"]) == (
        "python -m training.grapes --model wine_type --recipe default --seed 7"
    )


def test_seeds_are_counted_and_nothing_is_published(tmp_path, capsys):
    """Both of two seeds learn the gate."""
    train(tmp_path, "--seeds", "2")

    assert capsys.readouterr().out.startswith("2 of 2 seeds answer all four rows, 2 of them within 0.01")
    assert list(tmp_path.iterdir()) == []
