from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from service.models import MODELS
from training import calibration
from training.fit import choose, fit
from training.kernel import Kernel
from training.labels import labels, named, places, prior
from training.learners import encoded_kernel, seeded
from training.recipes import GATE
from training.table import Table, read

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alike(small, quick):
    """Two fits of survival with one seed, and one with another."""
    spec, table = MODELS["survival"], small["survival"]
    return [fit(spec, quick["survival"], table, seed) for seed in (1, 1, 2)]


@pytest.fixture(scope="module")
def noise(tables):
    """Wines whose grades are shuffled among them: nothing about a grade can be known from its row."""
    table = tables["wine_grade"].take(np.arange(0, 6497, 30)).distinct()
    return replace(table, targets=np.random.default_rng(0).permutation(table.targets))


def test_the_same_seed_gives_the_same_predictions_and_another_does_not(alike, small):
    """Two fits of one seed agree on every row and in every choice; another seed's do not."""
    event = MODELS["survival"].task.event
    one, same, other = (each.network.predict(small["survival"].matrix)[event] for each in alike)

    assert np.abs(one - same).max() <= 1e-5
    assert np.abs(one - other).max() > 1e-3
    assert alike[0].critical == alike[1].critical
    assert alike[0].choices.curve == alike[1].choices.curve


@pytest.mark.parametrize("seed", range(1, 3))
def test_the_and_gate_is_learnt_whatever_the_seed(tables, seed):
    """All four probabilities within 0.01, and completely explained; `--seeds 50` counts 50 of 50."""
    table = tables["and_gate"]
    network = fit(MODELS["and_gate"], GATE, table, seed).network
    answers = {name: values.numpy() for name, values in network.explain(tf.constant(table.matrix)).items()}
    change = answers["prediction"] - answers["baseline_prediction"]

    assert np.abs(network.predict(table.matrix)["probability"] - table.targets).max() < 0.01
    assert change.max() > 0.9
    assert np.abs(answers["attributions"].sum(axis=1) - change).max() < 1e-5


def test_copies_of_a_row_change_nothing(alike, small, quick):
    """Every patient entered three times is the same table: the same answers, choices and critical values."""
    spec, table = MODELS["survival"], small["survival"]
    copied = fit(spec, quick["survival"], table.take(np.tile(np.arange(len(table)), 3)))
    event = spec.task.event

    assert np.array_equal(*(one.network.predict(table.matrix)[event] for one in (alike[0], copied)))
    assert copied.critical == alike[0].critical
    assert len(copied.choices.table) == len(copied.choices.unseen) == len(table)


def test_choices_are_made_inside_the_given_table(alike, small, quick):
    """Fitted to the even rows, a model is the same whatever became of the patients in the odd ones."""
    spec, table = MODELS["survival"], small["survival"]
    turned = table.targets.copy()
    turned[1::2] = 1 - turned[1::2]
    recipe = replace(quick["survival"], epochs=3)
    half = np.arange(0, len(table), 2)
    one, other = (fit(spec, recipe, each.take(half)) for each in (table, replace(table, targets=turned)))

    assert one.critical == other.critical
    assert one.choices.epochs == other.choices.epochs
    assert one.choices.slope == other.choices.slope
    assert np.array_equal(one.network.shares(table.matrix), other.network.shares(table.matrix))


def test_unseen_shares_do_not_know_their_rows_targets(noise, quick):
    """Of shuffled grades a kernel without ridge remembers all that it saw, and nothing of what it did not."""
    spec = MODELS["wine_grade"]
    recipe = replace(quick["wine_grade"], epochs=1, kernel=Kernel(ridge=1e-6, rounds=0))
    # Nets of one epoch know next to nothing: the whole weight is the kernel's.
    rows, truth = np.arange(len(noise)), places(spec, noise)
    seeded(1)
    chosen = choose(spec, recipe, noise, 1, None)
    remembered = encoded_kernel(spec, recipe.kernel, noise)(noise.matrix)
    chance = calibration.loss(np.tile(prior(spec, noise), (len(noise), 1)), truth)

    assert remembered[rows, truth].min() > 0.9
    assert calibration.loss(chosen.unseen, truth) > 0.97 * chance


def test_unseen_shares_stand_beside_their_rows(fitted):
    """Red wines are told from white ones out of fold, row by row in the order of the choices' table."""
    choices = fitted["wine_type"].choices

    assert choices.unseen.shape == (len(choices.table), 2)
    assert np.allclose(choices.unseen.sum(axis=1), 1)
    assert roc_auc_score(choices.table.targets, choices.unseen[:, 1]) > 0.9


def test_unseen_shares_are_the_calibrated_ones(fitted):
    """Critical values are read from them, so slope and shift are applied, as in the graph."""
    for name in ("survival", "wine_grade"):
        one = fitted[name]
        spec, table = MODELS[name], one.choices.table
        expected = calibration.critical_values(
            spec.task, spec.target, named(spec, one.choices.unseen), table.targets
        )
        truth = places(spec, table)
        undone = calibration.apply(
            calibration.apply(one.choices.unseen, 1, [-shift for shift in one.choices.shift]),
            1 / one.choices.slope, np.zeros(len(one.choices.shift)),
        )  # fmt: skip
        slope, shift = calibration.calibrated(spec.task, undone, truth)

        assert one.critical == expected
        assert one.choices.slope == pytest.approx(slope, abs=1e-2)
        assert one.choices.shift == pytest.approx(shift, abs=1e-2)
        assert float(one.network.calibration.slope) == pytest.approx(one.choices.slope)


@pytest.mark.parametrize("name", ["survival", "wine_type", "wine_quality", "wine_grade"])
def test_the_chosen_epoch_is_the_curves_least(fitted, quick, name):
    """Every epoch is on the curve; the network is fitted for as many as the best one counts."""
    curve = fitted[name].choices.curve

    assert len(curve.training) == len(curve.validation) == quick[name].epochs
    assert curve.validation[curve.kept - 1] == min(curve.validation)
    assert fitted[name].choices.epochs == curve.kept


def test_the_network_is_fitted_for_as_many_epochs_as_were_chosen(noise, quick):
    """On shuffled grades the validation error is least early: twice 12 epochs inside, then that many."""
    told = []
    recipe = replace(quick["wine_grade"], epochs=12, rate=0.1, dropout=0.0, average=0.0, kernel=None)
    chosen = fit(MODELS["wine_grade"], recipe, noise, watch=told.append).choices.epochs

    assert chosen < 12
    assert told == [*range(1, 13), *range(1, 13), *range(1, chosen + 1)]


def test_with_0_choices_nothing_is_chosen(fitted, quick):
    """Every epoch runs, shares stay as they are, no critical values; the curve is that of the fit itself."""
    choices = fitted["and_gate"].choices

    assert choices.epochs == choices.curve.kept == len(choices.curve.training) == quick["and_gate"].epochs
    assert (choices.weights, choices.slope, choices.shift) == ([1], 1, [0, 0])
    assert choices.curve.validation == []
    assert choices.unseen.size == 0
    assert fitted["and_gate"].critical == {}


def test_without_choices_the_nets_have_all_the_weight(small, quick):
    """A kernel machine beside them is fitted and not asked."""
    recipe = replace(quick["wine_quality"], choices=0, epochs=1)
    found = fit(MODELS["wine_quality"], recipe, small["wine_quality"])

    assert found.choices.weights == [1, 0]


def test_the_curve_of_a_number_counts_squared_errors(small, quick):
    """The nets' curve of a grade starts near the squared deviation of the grades, not near an entropy."""
    spec, table = MODELS["wine_quality"], small["wine_quality"]
    recipe = replace(quick["wine_quality"], epochs=1, rate=1e-6, choices=0, kernel=None)
    seen = fit(spec, recipe, table)
    mean = seen.network.predict(table.matrix)["quality"]

    assert seen.choices.curve.training[0] == pytest.approx(np.mean((mean - table.targets) ** 2), rel=1e-3)


def test_a_class_that_the_table_lacks_is_not_impossible(small, quick):
    """Grade 9 does not occur among 160 wines; its share is small and above 0, also for a single epoch."""
    assert 9 not in small["wine_grade"].targets
    recipe = replace(quick["wine_grade"], epochs=1, kernel=None)
    found = fit(MODELS["wine_grade"], recipe, small["wine_grade"])
    shares = found.network.shares(small["wine_grade"].matrix)

    assert 0 < shares[:, -1].min() <= shares[:, -1].max() < 0.05


def test_a_fit_beats_the_trivial_answer_on_its_own_rows(fitted, small):
    """Even the quick recipe learns something of a wine's grade: a smaller squared error than the mean's."""
    spec, table = MODELS["wine_quality"], small["wine_quality"]
    learnt = fitted[spec.name].network.predict(table.matrix)["quality"]
    mean = spec.task.trivial(spec.target, prior(spec, table), len(table))["quality"]

    assert np.mean((learnt - table.targets) ** 2) < 0.9 * np.mean((mean - table.targets) ** 2)


def test_the_encoding_learns_from_the_given_rows_only(small, quick):
    """Fitting on half of the table gives the statistics of that half."""
    half = small["survival"].take(np.arange(80))
    network = fit(MODELS["survival"], replace(quick["survival"], epochs=1), half).network
    age = network.encoding.shift.numpy()[np.flatnonzero(np.array(network.encoding.sources) == 15)]

    assert age == pytest.approx(half.matrix[:, 15].mean(), rel=1e-5)
    assert age != pytest.approx(small["survival"].matrix[:, 15].mean(), rel=1e-5)


def test_a_kernel_machine_alone_remembers_copies(tables):
    """With next to no ridge a wine's copy is answered with its twin's grade; the table is not thinned."""
    spec = MODELS["wine_quality"]
    table = tables["wine_quality"].take(np.arange(0, 6497, 40))
    twice = Table.of(np.tile(table.matrix, (2, 1)), np.tile(table.targets, 2), {})
    answered = encoded_kernel(spec, Kernel(ridge=1e-4, rounds=1), twice)(table.matrix)

    assert labels(spec)[answered.argmax(axis=1)].tolist() == table.targets.tolist()


def test_the_prior_is_the_share_of_each_label():
    """70 of 470 died; the AND gate is true once in four; a grade is a distribution, as number or as class."""
    shares = {name: prior(spec, read(spec)) for name, spec in MODELS.items()}

    assert shares["survival"] == pytest.approx([400 / 470, 70 / 470])
    assert shares["and_gate"] == [0.75, 0.25]
    assert np.dot(shares["wine_quality"], range(3, 10)) == pytest.approx(5.8184, abs=1e-4)
    assert shares["wine_quality"] == shares["wine_grade"]
    assert sum(shares["wine_grade"]) == pytest.approx(1)


@pytest.mark.parametrize("name", MODELS)
def test_shares_bear_the_declared_names(name):
    """Right in their order: the last class alone is the event, or the highest grade."""
    spec = MODELS[name]
    outputs = named(spec, np.eye(len(labels(spec)))[-1:])

    assert list(outputs) == [output.name for output in spec.task.outputs(spec.target)]
    assert outputs[spec.explained].tolist() == [labels(spec)[-1]]
