import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.conformal import Critical
from service.metrics import evaluate
from service.models import MODELS
from service.quality import Figure, Quality
from training import report
from training.labels import labels, named, prior
from training.recipes import RECIPES
from training.study import Cell, Protocol, cells

pytestmark = pytest.mark.slow

GATE = report.protocol_of("and_gate")
QUALITY = Quality(
    protocol="by hand", rows=4, metrics={"loss": Figure(value=0.25, low=0.125, high=0.5)},
    baseline={"loss": Figure(value=1.0)},
)  # fmt: skip
SURVIVAL = MODELS["survival"]
TWICE = Protocol("grouped", 2, 11)


def said(table, repeat):
    """Probabilities of death that know something: 0.3 or 0.1, and a hundredth more in the second repeat."""
    return np.where(table.targets == 1, 0.3, 0.1) + repeat / 100


@pytest.fixture(scope="module")
def survival(tables, tmp_path_factory, keep):
    """The quality of a survival model whose answers were written by hand, over two draws of five folds."""
    runs, table = tmp_path_factory.mktemp("runs"), tables["survival"]
    for cell in cells("survival", ("model", "trivial"), TWICE):
        _, test = list(TWICE.splits(table, cell.repeat))[cell.fold]
        event = said(table, cell.repeat)[test]
        # Every unseen row was given the same, so its share is the critical value of whichever coverage.
        critical = {"unseen": np.tile([0.85, 0.15], (400, 1)), "truth": np.tile([0.0, 1.0], 200)}
        if cell.candidate == "model":
            keep(cell, runs, shares=np.stack([1 - event, event], axis=1), **critical)
        else:
            keep(cell, runs, **SURVIVAL.task.trivial(SURVIVAL.target, [0.85, 0.15], len(test)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "RESAMPLES", 25)
        return report.measure("survival", TWICE, runs, others=())


def test_figures_are_the_means_of_the_repeats(survival, tables):
    """Each draw of folds is put together and judged as /evaluate judges; the figure is their mean."""
    table = tables["survival"]
    judged = [
        evaluate(
            SURVIVAL.task, SURVIVAL.target,
            named(SURVIVAL, np.stack([1 - said(table, repeat), said(table, repeat)], axis=1)), table.targets,
        )
        for repeat in (0, 1)
    ]  # fmt: skip

    for name in ("loss", "brier", "sensitivity", "auc"):
        assert survival.metrics[name].value == pytest.approx(np.mean([one[name] for one in judged]))
    assert survival.metrics["brier"].low < survival.metrics["brier"].value < survival.metrics["brier"].high
    assert survival.rows == 470
    assert "threshold" not in survival.metrics


def test_the_baseline_and_others_stand_beside_without_intervals(survival):
    """The trivial model is the baseline, and not also one of the others."""
    assert survival.baseline["auc"].value == 0.5
    assert survival.baseline["loss"].low is None
    assert survival.others == {}


def test_the_margin_is_how_much_smaller_the_loss_is(survival):
    """The difference of the two losses, with an interval over patients."""
    apart = survival.baseline["loss"].value - survival.metrics["loss"].value

    assert survival.margin.value == pytest.approx(apart, abs=1e-6)
    assert survival.margin.low < survival.margin.value < survival.margin.high


def test_coverage_is_measured_for_all_and_for_each_class(survival):
    """Three coverages of three parts. Critical values are 0.85 and 0.15 throughout."""
    found = {(one.coverage, one.of): one for one in survival.covered}

    assert list(dict.fromkeys(of for _, of in found)) == ["all", "survival", "death_within_one_year"]
    assert {coverage for coverage, _ in found} == {0.8, 0.9, 0.95}
    assert [found[0.9, of].rows for of in ("all", "survival", "death_within_one_year")] == [470, 400, 70]
    # Survivors' sets: 0.9 >= 0.85, and 0.1 < 0.15: one label. Deaths': 0.7 < 0.85, 0.3 >= 0.15: one label.
    assert [one.share.value for one in survival.covered] == [1] * 9
    assert [one.size for one in survival.covered] == [1] * 9


def test_coverage_is_the_mean_over_the_repeats(tables, tmp_path, keep):
    """Everything is inside in one repeat and nothing in the other: half."""
    table, task = tables["survival"], SURVIVAL.task
    unseen = {"unseen": np.tile([0.5, 0.5], (400, 1)), "truth": np.tile([0.0, 1.0], 200)}
    for cell in cells("survival", ["model"], TWICE):
        _, test = list(TWICE.splits(table, cell.repeat))[cell.fold]
        own = 0.9 if cell.repeat == 0 else 0.1
        event = np.where(table.targets[test] == 1, own, 1 - own)
        keep(cell, tmp_path, shares=np.stack([1 - event, event], axis=1), **unseen)
    found = report._covered(SURVIVAL, table, report.answers("survival", "model", TWICE, tmp_path), TWICE)

    assert task.sets == "per_class"
    assert [one.share.value for one in found] == [0.5] * 9


def test_figures_of_another_protocol_are_not_the_record():
    """Two draws, or another seed, are kept beside the fits; the usual ones are what cards say."""
    usual = report.protocol_of("survival")

    assert usual == Protocol("grouped", 10, 11)
    assert report.protocol_of("wine_type") == Protocol("grouped", 3, 71)
    assert report.folder_of(usual, "survival", None, Path("runs")) == report.FIGURES
    assert report.folder_of(replace(usual, seed=12), "survival", None, Path("runs")) == Path("runs/figures")
    assert report.folder_of(replace(usual, seed=12), "survival", Path("here"), Path("runs")) == Path("here")


def test_groups_are_those_that_the_declaration_names(survival):
    """By age and size of the tumour; together they are all patients, twice."""
    assert {group.of for group in survival.groups} == {"age", "tumour_size"}
    assert sum(group.rows for group in survival.groups) == 2 * 470


def test_the_protocol_says_how_often_and_with_which_seeds(survival):
    """Two draws, from seed 11 to 12."""
    assert "drawn 2 times (seeds 11 to 12" in survival.protocol
    assert "drawn once (seed 11;" in report.sentence(Protocol("grouped", 1, 11))


def test_intervals_count_what_lies_inside(tables):
    """A number 0.4 off with a deviation of 1: inside from a critical value of 0.4 on, and twice as wide."""
    spec, table = MODELS["wine_quality"], tables["wine_quality"].take(np.arange(6))
    outputs = {"quality": np.float32(table.targets - 0.4), "standard_deviation": np.ones(6, np.float32)}
    for reach, inside in ((0.39, False), (0.41, True)):
        held, width = report._inside(spec, outputs, Critical(0.9, [reach]), table)

        assert held.tolist() == [inside] * 6
        assert np.allclose(width, 2 * reach)


def test_the_and_gate_is_measured_on_its_own_table(studied):
    """A truth table has no folds and no intervals, but a margin, which the publishing gate asks for."""
    quality = report.measure("and_gate", GATE, studied[0], others=("linear",))

    assert quality.metrics["accuracy"].value == 1
    assert quality.metrics["accuracy"].low is None
    assert quality.baseline["accuracy"].value == 0.75
    assert quality.margin.low > 0.1
    assert quality.covered == quality.groups == quality.studies == []
    assert "no folds and no intervals" in quality.protocol


def test_others_are_read_from_where_they_were_computed(studied, poison):
    """The linear model's figures are those of the answers on the disk, whoever wrote them."""
    quality = report.measure("and_gate", GATE, studied[0], others=("linear",))

    assert quality.others["linear"]["brier"].value == pytest.approx(np.mean((poison - [0, 0, 0, 1]) ** 2))


def test_a_papers_protocol_is_the_mean_over_its_folds(tables, tmp_path, keep):
    """As papers take it: each fold is judged alone, here two models on the red wines, once in five folds."""
    spec, table = MODELS["wine_quality"], tables["wine_quality"]
    further = report.Further("as a paper", "red", 1, "Once", ("kernel", "linear"), "A paper.")
    answered = np.eye(7)[np.full(len(table), 2)]
    expected = []
    for fold, (_, test) in enumerate(further.protocol(3).splits(table, 0)):
        keep(Cell(spec.name, "kernel", further.protocol(3), 0, fold), tmp_path, shares=answered[test])
        keep(
            Cell(spec.name, "linear", further.protocol(3), 0, fold), tmp_path,
            **spec.task.trivial(spec.target, prior(spec, table), len(test)),
        )  # fmt: skip
        expected.append(np.mean(np.abs(table.targets[test] - labels(spec)[2])))
    study = report._study(spec.name, further, 3, tmp_path)

    assert study.rows == 1599
    assert study.protocol.startswith("Once,")
    assert "Copies of a wine stand on both sides" in study.protocol
    assert list(study.figures) == ["kernel", "linear"]
    assert study.figures["kernel"]["mae"].value == pytest.approx(np.mean(expected))
    assert study.source == "A paper."


def test_figures_on_record_are_read_back(tmp_path):
    """Written and read, value for value."""
    report.write(tmp_path / "figures", "and_gate", QUALITY)

    assert report.recorded("and_gate", tmp_path / "figures") == QUALITY
    assert report.recorded("survival", tmp_path / "figures") is None


def test_figures_of_another_recipe_are_void(tmp_path, monkeypatch):
    """A changed recipe has no figures until it is measured."""
    report.write(tmp_path, "and_gate", QUALITY)
    monkeypatch.setitem(RECIPES, "and_gate", replace(RECIPES["and_gate"], rate=0.2))

    assert report.recorded("and_gate", tmp_path) is None


def test_figures_of_another_table_are_void():
    """The same recipe on other files, on other columns or for another task has another digest."""
    recipe = RECIPES["and_gate"]

    assert len({report.digest(spec, recipe) for spec in MODELS.values()}) == len(MODELS)


@pytest.mark.parametrize("model", [name for name in MODELS if name != "and_gate"])
def test_a_model_is_measured_on_several_draws_of_folds_unless_told_otherwise(model):
    """Grouped folds, more than once, from seed 11 or 71 on; a command line may ask for less, and others."""
    protocol = report.protocol_of(model)

    assert (protocol.name, protocol.seed) == ("grouped", 71 if model == "wine_type" else 11)
    assert protocol.repeats >= 2
    assert report.protocol_of(model, repeats=1, seed=5) == Protocol("grouped", 1, 5)


def test_the_command_writes_the_figures_and_shows_them(studied, tmp_path, capsys, monkeypatch, keep, poison):
    """Everything is on the disk, so nothing is fitted; the record is valid for the recipe as it is."""
    once = report.Further("one seed", "table", 1, "Once", ("model", "linear"), caution="")
    monkeypatch.setattr(report, "STUDIES", {"and_gate": (once,)})
    runs, figures = tmp_path / "runs", tmp_path / "figures"
    shutil.copytree(studied[0], runs)
    for name in report.OTHERS:
        keep(Cell("and_gate", name, GATE, 0, 0), runs, probability=poison)
    report.main(["--model", "and_gate", "--runs", str(runs), "--figures", str(figures)])

    quality = report.recorded("and_gate", figures)
    assert quality.metrics["accuracy"].value == 1
    assert set(quality.others) == set(report.OTHERS)
    assert [list(study.figures) for study in quality.studies] == [["model", "linear"]]
    assert json.loads((figures / "and_gate.json").read_text())["quality"]["rows"] == 4
    assert "and_gate" in capsys.readouterr().out


def test_help_shows_the_command_to_run(capsys):
    """--help prints an example, and exits well."""
    with pytest.raises(SystemExit) as caught:
        report.main(["--help"])

    assert caught.value.code == 0
    assert "python -m training.report --model survival" in capsys.readouterr().out
