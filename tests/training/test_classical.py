from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from service.metrics import evaluate
from service.models import MODELS
from training import classical
from training.classical import CLASSICAL, MEANINGS
from training.folds import folds
from training.table import Table

pytestmark = pytest.mark.slow

AND, GRADE, QUALITY, SURVIVAL = (
    MODELS[name] for name in ("and_gate", "wine_grade", "wine_quality", "survival")
)
LEARNT = [name for name in CLASSICAL if name != "trivial"]


@pytest.fixture(autouse=True)
def _thirty_trees(monkeypatch):
    """A tenth of the trees: what is tested here does not depend on their number."""
    monkeypatch.setattr(classical, "TREES", 30)


@pytest.fixture(scope="module")
def wines(tables):
    """1,000 wines to learn from and 250 others, no wine in both."""
    table = tables["wine_grade"]
    training, held = next(folds(table.take(np.arange(0, len(table), 5)), 5, seed=3))
    table = table.take(np.arange(0, len(table), 5))
    return table.take(training), table.take(held)


def metrics(spec, outputs, table):
    return evaluate(spec.task, spec.target, outputs, table.targets)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("model", CLASSICAL)
def test_every_model_answers_the_declared_outputs(small, name, model):
    """Names, order, widths and float32 are the declaration's; probabilities are above 0 and sum to 1."""
    spec, table = MODELS[name], small[name]
    outputs = CLASSICAL[model](spec, 1)(table, table.matrix[:3])

    declared = spec.task.outputs(spec.target)
    assert list(outputs) == [output.name for output in declared]
    for output in declared:
        assert outputs[output.name].shape == ((3, output.width) if output.width else (3,))
        assert outputs[output.name].dtype == np.float32
        assert np.isfinite(outputs[output.name]).all()
    if spec.task.name != "regression":
        shares = spec.task.shares(spec.target, outputs)
        assert (shares > 0).all()
        assert np.allclose(shares.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("model", CLASSICAL)
@pytest.mark.parametrize("name", ["survival", "wine_quality"])
def test_the_seed_decides_and_nothing_else(small, name, model):
    """The same seed answers bit for bit the same, and numpy's global generator is not asked."""
    spec, table = MODELS[name], small[name]
    answers = []
    for state in (0, 1):
        np.random.seed(state)
        answers.append(CLASSICAL[model](spec, 7)(table, table.matrix[:40]))

    for output, values in answers[0].items():
        assert values.tolist() == answers[1][output].tolist()


@pytest.mark.parametrize("model", ["extra_trees", "gradient_boosting", "svm_rbf"])
def test_another_seed_answers_otherwise(small, model):
    """Trees, and the parts that a model is calibrated on, are drawn with the seed."""
    spec, table = SURVIVAL, small["survival"]
    one, other = (CLASSICAL[model](spec, seed)(table, table.matrix)[spec.task.event] for seed in (1, 2))

    assert np.abs(one - other).max() > 1e-6


@pytest.mark.parametrize("model", LEARNT)
def test_every_model_of_grades_beats_the_trivial_one_on_other_wines(wines, model):
    """Log-loss and accuracy on 250 held-out wines, learnt from 1,000."""
    seen, held = wines
    found, trivial = (
        metrics(GRADE, CLASSICAL[name](GRADE, 1)(seen, held.matrix), held) for name in (model, "trivial")
    )

    assert found["log_loss"] < trivial["log_loss"] - 0.1
    assert found["accuracy"] > trivial["accuracy"] + 0.05


@pytest.mark.parametrize("model", LEARNT)
def test_every_model_of_a_number_beats_the_mean_on_other_wines(wines, model):
    """RMSE on 250 held-out wines; the standard deviation is about what the errors are."""
    seen, held = wines
    outputs = CLASSICAL[model](QUALITY, 1)(seen, held.matrix)
    trivial = CLASSICAL["trivial"](QUALITY, 1)(seen, held.matrix)
    found, spread = metrics(QUALITY, outputs, held)["rmse"], outputs["standard_deviation"].mean()

    assert found < 0.92 * metrics(QUALITY, trivial, held)["rmse"]
    assert 0.8 < spread / found < 1.25


@pytest.mark.parametrize("model", LEARNT)
def test_every_model_tells_red_from_white(tables, model):
    """On one grouped fold of a fifth of the wines, at most 3 per cent are mistaken."""
    spec = MODELS["wine_type"]
    table = tables["wine_type"].take(np.arange(0, 6497, 5))
    training, held = next(folds(table))
    outputs = CLASSICAL[model](spec, 1)(table.take(training), table.matrix[held])

    assert metrics(spec, outputs, table.take(held))["accuracy"] > 0.97


def test_the_trivial_model_answers_the_training_shares(tables):
    """70 of 470 died; the mean is that of the 50 grades there are, whatever grades are absent."""
    survival = CLASSICAL["trivial"](SURVIVAL, 1)(tables["survival"], tables["survival"].matrix[:5])
    good = tables["wine_quality"].take(np.flatnonzero(tables["wine_quality"].targets >= 6)[:50])
    quality = CLASSICAL["trivial"](QUALITY, 1)(good, tables["wine_quality"].matrix[:5])

    assert survival[SURVIVAL.task.event].tolist() == [np.float32(70 / 470)] * 5
    assert quality["quality"] == pytest.approx([good.targets.mean()] * 5, abs=1e-6)


@pytest.mark.parametrize("model", CLASSICAL)
def test_a_grade_that_the_training_rows_lack_stays_possible(small, model):
    """Without fours and sevens their columns stay in place, above 0: the log-loss of one is finite."""
    table = small["wine_grade"]
    without = table.take(np.flatnonzero(~np.isin(table.targets, (4, 7))))
    outputs = CLASSICAL[model](GRADE, 1)(without, table.matrix)
    shares = outputs["probabilities"].astype(float)
    absent = np.isin(GRADE.task.classes, (4, 7))

    assert (shares[:, absent] > 0).all()
    assert (shares[:, absent] < 0.02).all()
    expected = np.mean(without.targets == 6)
    assert shares[:, 3].mean() == pytest.approx(expected, abs=0.1)
    # 28 of the 160 wines could not be foreseen; at probability 0 they alone would cost 6 nats.
    assert metrics(GRADE, outputs, table)["log_loss"] < 3


def test_what_is_never_seen_counts_as_one_row():
    """Trees answer 0 to death among 99 survivors and one death far away: mixed with one row, it is 0.0001."""
    rows = np.concatenate([np.zeros((98, 1)), [[9], [9]]]).astype(np.float32)
    table = Table.of(rows, np.array([0.0] * 98 + [1.0, 1.0]), {})
    mixed = classical._mixed(SURVIVAL, table, np.array([[1.0, 0.0]]))

    assert mixed.tolist() == [pytest.approx([1 - 0.02 / 101, 0.02 / 101])]


@pytest.mark.parametrize("model", ["linear", "svm_rbf", "extra_trees"])
def test_and_is_learnt_from_its_four_rows(tables, model):
    """Too few rows for inner parts or a penalty: the truth table itself is all there is."""
    outputs = CLASSICAL[model](AND, 1)(tables["and_gate"], tables["and_gate"].matrix)

    assert (outputs["probability"] > 0.5).tolist() == [False, False, False, True]


def test_a_line_is_not_enough_for_xor_and_a_kernel_is(tables):
    """Logistic regression answers every row of XOR 0.5, the support vectors tell them apart."""
    rows = tables["and_gate"].matrix
    xor = Table.of(rows, np.array([0.0, 1.0, 1.0, 0.0]), {})
    linear, kernel = (CLASSICAL[name](AND, 1)(xor, rows)["probability"] for name in ("linear", "svm_rbf"))

    assert np.allclose(linear, 0.5, atol=1e-3)
    assert (kernel > 0.5).tolist() == [False, True, True, False]


def test_ridge_recovers_a_line(tables):
    """A target that is a linear function of two measurements is answered within a hundredth."""
    matrix = tables["wine_quality"].matrix[::6]
    line = 3 + 0.2 * matrix[:, 10].astype(np.float64) - 0.5 * matrix[:, 1]
    outputs = CLASSICAL["linear"](QUALITY, 1)(Table.of(matrix, line, {}), matrix)

    assert np.std(line) > 0.1
    assert np.abs(outputs["quality"] - line).max() < 0.01
    assert outputs["standard_deviation"].max() < 0.01


@pytest.mark.parametrize("model", CLASSICAL)
def test_a_row_is_answered_alone_as_with_others(small, model):
    """Nothing is learnt from the rows that are asked."""
    table = small["wine_quality"]
    function = CLASSICAL[model](QUALITY, 1)
    together, alone = function(table, table.matrix)["quality"], function(table, table.matrix[:1])["quality"]

    assert alone[0] == pytest.approx(together[0], abs=1e-5)


def test_an_svm_is_calibrated_on_rows_that_it_had_not_seen(small):
    """Targets that have nothing to do with the rows: probabilities stay near the prevalence.

    An SVC separates its own 160 rows nearly perfectly; calibrated on them it would be sure of itself.
    """
    table = small["survival"]
    noise = replace(table, targets=np.random.default_rng(0).permutation(np.resize([0.0, 1.0], len(table))))
    answered = CLASSICAL["svm_rbf"](SURVIVAL, 1)(noise, table.matrix)[SURVIVAL.task.event]

    assert np.abs(answered - 0.5).max() < 0.3


def test_trees_smooth_where_the_table_says_little(small):
    """Of noise, the inner fold prefers leaves of ten rows, and boosting its small trees."""
    table = small["survival"]
    noise = replace(table, targets=np.random.default_rng(0).permutation(np.resize([0.0, 1.0], len(table))))
    answered = {
        model: CLASSICAL[model](SURVIVAL, 1)(noise, table.matrix)[SURVIVAL.task.event]
        for model in ("extra_trees", "gradient_boosting")
    }

    # Fully grown trees would answer their own training rows 0 or 1.
    assert np.abs(answered["extra_trees"] - 0.5).max() < 0.4
    assert np.abs(answered["gradient_boosting"] - 0.5).max() < 0.4


def test_one_thread_is_used_while_a_model_is_fitted(small):
    """Reports run side by side, and boosting's sums depend on the number of threads."""
    seen = []

    def spy(spec, table, asked, seed):
        seen.extend(pool["num_threads"] for pool in threadpool_info())
        return {}

    with threadpool_limits(limits=2):
        classical._on_columns(SURVIVAL, 1, spy)(small["survival"], small["survival"].matrix)

    assert seen
    assert set(seen) == {1}


def test_every_model_has_a_sentence_for_the_card():
    """A name in a table of figures that nobody explains says nothing."""
    assert list(MEANINGS) == list(CLASSICAL)
    assert all(meaning.endswith(".") for meaning in MEANINGS.values())
