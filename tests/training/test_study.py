from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.models import MODELS
from training import report, study
from training.folds import folds
from training.recipes import RECIPES
from training.study import SPLIT, Cell, Protocol, answers, cells, compute, missing

pytestmark = pytest.mark.slow

TABLE = report.protocol_of("and_gate")
GROUPED = Protocol("grouped", 2, 11)


def path_of(model, candidate, protocol=GROUPED, repeat=0, fold=0):
    return Cell(model, candidate, protocol, repeat, fold).path(Path("runs"))


def test_what_is_on_the_disk_is_not_computed_again(studied, poison):
    """The study found the linear model's answers and kept them; it computed, and told of, the other two."""
    runs, told = studied
    ((rows, outputs, critical),) = answers("and_gate", "linear", TABLE, runs)

    assert sorted(told) == ["and_gate, model, table 1.1", "and_gate, trivial, table 1.1"]
    assert rows.tolist() == [0, 1, 2, 3]
    assert outputs["probability"].tolist() == poison.tolist()
    assert critical == {}


def test_a_complete_study_computes_nothing(studied):
    """Asked again, no cell is missing and no process starts."""
    wanted, told = cells("and_gate", ("linear", "trivial", "model"), TABLE), []
    before = {path: path.stat().st_mtime_ns for path in studied[0].rglob("*.npz")}
    compute(wanted, studied[0], 2, told.append)

    assert missing(wanted, studied[0]) == told == []
    assert {path: path.stat().st_mtime_ns for path in studied[0].rglob("*.npz")} == before
    assert len(before) == 3


def test_the_computed_cells_hold_what_the_models_answer(studied):
    """The prevalence of a quarter; the gate's own recipe right on all four rows, from seed 11."""
    ((_, trivial, _),) = answers("and_gate", "trivial", TABLE, studied[0])
    ((_, learnt, _),) = answers("and_gate", "model", TABLE, studied[0])

    assert trivial["probability"].tolist() == [0.25] * 4
    assert learnt["probability"] == pytest.approx([0, 0, 0, 1], abs=0.01)


def test_half_a_file_is_not_a_cell(tmp_path, keep, poison):
    """What an interrupted process left under another name is computed again; no cell is asked for twice."""
    (cell,) = cells("and_gate", ["trivial"], TABLE)
    keep(cell, tmp_path, probability=poison).rename(cell.path(tmp_path).with_suffix(".partial.npz"))

    assert missing([cell, cell], tmp_path) == [cell]


def test_a_cell_is_written_at_once(tmp_path):
    """Computed here, in this process: one file, under its own name."""
    (cell,) = cells("and_gate", ["trivial"], TABLE)
    study._keep(cell, tmp_path)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [cell.path(tmp_path)]


def test_a_cell_that_was_interrupted_half_way_is_missing(tmp_path, monkeypatch):
    """The disk is full in the middle of the file: it does not stand where a whole one would."""
    (cell,) = cells("and_gate", ["trivial"], TABLE)

    def half(path, **_):
        path.write_bytes(b"PK")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", half)
    with pytest.raises(OSError, match="no space"):
        study._keep(cell, tmp_path)

    assert missing([cell], tmp_path) == [cell]


def test_the_two_models_of_the_grade_share_their_fits():
    """One distribution, read as a number or as a class: the same file. What is computed otherwise is not."""
    for candidate in ("model", "kernel"):
        assert path_of("wine_quality", candidate) == path_of("wine_grade", candidate)
        assert path_of("wine_quality", candidate) != path_of("wine_type", candidate)
    for candidate in ("trivial", "linear", "lecture"):
        assert path_of("wine_quality", candidate) != path_of("wine_grade", candidate)


def test_shared_fits_are_computed_once(tmp_path):
    """Both models' cells of one protocol are as many files as one model's."""
    names = ("wine_quality", "wine_grade")
    both = [Cell(name, "model", GROUPED, 0, fold) for name in names for fold in range(5)]

    assert len(missing(both, tmp_path)) == 5


def test_another_recipe_is_another_file(monkeypatch):
    """Figures of a recipe that was changed cannot be taken for the new one's; the baselines stay."""
    before = path_of("survival", "model"), path_of("survival", "linear")
    monkeypatch.setitem(RECIPES, "survival", replace(RECIPES["survival"], l2=0.04))

    assert path_of("survival", "model") != before[0]
    assert path_of("survival", "linear") == before[1]


def test_every_fit_has_a_file_of_its_own():
    """Candidates, protocols, repeats and folds all differ; a repeat is known by its seed alone."""
    colours = [Protocol(name, 1, 11) for name in ("red", "white", "benchmark", "grouped")]
    paths = [
        path_of("wine_quality", candidate, protocol, repeat, fold)
        for candidate in ("model", "kernel", "linear")
        for protocol in colours
        for repeat in (0, 1)
        for fold in range(2)
    ]

    assert len(set(paths)) == len(paths)
    assert path_of("wine_quality", "model", Protocol("grouped", 1, 12)) == path_of(
        "wine_quality", "model", Protocol("grouped", 2, 11), repeat=1
    )


@pytest.mark.parametrize(("colour", "rows", "code"), [("red", 1599, 1), ("white", 4898, 0)])
def test_cortez_folds_hold_one_colour(tables, colour, rows, code):
    """Five random folds of the wines of that colour, training and test; every one is tested once."""
    table = tables["wine_quality"]
    splits = list(Protocol(colour, 1, 11).splits(table, 0))

    assert len(splits) == 5
    for training, test in splits:
        assert set(table.matrix[np.concatenate([training, test]), -1]) == {code}
        assert len(np.union1d(training, test)) == rows
        assert not np.intersect1d(training, test).size
    tested = np.concatenate([test for _, test in splits])
    assert sorted(tested) == np.flatnonzero(table.matrix[:, -1] == code).tolist()


def test_the_benchmarks_split_has_its_sizes(tables):
    """4,547 rows to fit, 1,365 to test, none in both; 585 in neither."""
    ((training, test),) = Protocol("benchmark", 5, 11).splits(tables["wine_quality"], 0)

    assert (len(training), len(test)) == (4547, 1365) == (SPLIT[0], SPLIT[2])
    assert not np.intersect1d(training, test).size
    assert len(np.union1d(training, test)) == 6497 - 585


def test_grouped_splits_are_the_folds_of_the_repeats_seed(tables):
    """The third repeat from seed 11 on is drawn with seed 13."""
    splits = list(Protocol("grouped", 3, 11).splits(tables["survival"], 2))
    expected = list(folds(tables["survival"], 5, 13))

    assert all(np.array_equal(test, same) for (_, test), (_, same) in zip(splits, expected, strict=True))


def test_a_truth_table_is_its_own_test(tables):
    """All four rows on both sides."""
    ((training, test),) = TABLE.splits(tables["and_gate"], 0)

    assert training.tolist() == test.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "candidate", ["model", "kernel", "trivial", "linear", "svm_rbf", "extra_trees", "gradient_boosting"]
)
def test_a_fit_never_sees_the_targets_of_the_rows_held_out(small, quick, monkeypatch, candidate):
    """They are turned round, and neither an answer nor what critical values are read from moves."""
    table = small["wine_type"]
    cell = Cell("wine_type", candidate, Protocol("grouped", 1, 11), 0, 0)
    _, test = next(folds(table, 5, 11))
    targets = table.targets.copy()
    targets[test] = 1 - targets[test]
    splits = list(cell.protocol.splits(table, 0))
    monkeypatch.setitem(RECIPES, "wine_type", quick["wine_type"])
    monkeypatch.setattr(Protocol, "splits", lambda *_: iter(splits))

    found = []
    for known in (table, replace(table, targets=targets)):
        monkeypatch.setattr(study, "whole", lambda _, known=known: known)
        found.append(study._computed(cell))

    before, after = found
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert {len(values) for name, values in before.items() if name not in ("unseen", "truth")} == {len(test)}


def test_cells_are_listed_by_candidate_repeat_and_fold():
    """Two candidates, two repeats, five folds: 20 fits, each named for who watches."""
    listed = cells("survival", ("model", "linear"), GROUPED)

    assert len(set(listed)) == 20
    assert str(listed[0]) == "survival, model, grouped 1.1"
    assert str(listed[-1]) == "survival, linear, grouped 2.5"


def test_kept_shares_become_outputs_with_their_critical_values(tables, tmp_path, keep):
    """The critical values of each fold are read off the rows that its learners had not seen, kept beside."""
    table, protocol = tables["survival"], Protocol("grouped", 1, 11)
    unseen = np.linspace(0.05, 0.95, 40)
    truth = np.tile([0.0, 1.0], 20)
    for fold, (_, test) in enumerate(protocol.splits(table, 0)):
        keep(
            Cell("survival", "model", protocol, 0, fold), tmp_path,
            shares=np.tile([0.7, 0.3 + fold / 100], (len(test), 1)), truth=truth,
            unseen=np.stack([1 - unseen, unseen], axis=1),
        )  # fmt: skip
    found = answers("survival", "model", protocol, tmp_path)
    task = MODELS["survival"].task

    for fold, (rows, outputs, critical) in enumerate(found):
        assert len(outputs[task.event]) == len(rows)
        assert np.allclose(outputs[task.event], 0.3 + fold / 100)
        assert list(critical) == ["0.8", "0.9", "0.95"]
        # Of 20 dead given 0.073 to 0.95, the 19th of the least certain ones: the second smallest.
        assert critical["0.9"][1] == pytest.approx(unseen[1::2][1])
