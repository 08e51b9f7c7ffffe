import numpy as np
import pytest
import tensorflow as tf

from service.conformal import COVERAGES, Critical
from service.models import MODELS
from training.calibration import (
    PULL,
    Calibration,
    apply,
    blend,
    calibrated,
    critical_values,
    loss,
)

GATE, SURVIVAL, COLOUR, QUALITY, GRADE = MODELS.values()


def truths(shares, seed=0):
    """The place of a class drawn from each row of shares."""
    uniform = np.random.default_rng(seed).random((len(shares), 1))
    return (shares.cumsum(axis=1) < uniform).sum(axis=1).clip(max=shares.shape[1] - 1)


def drawn(rows=5000, classes=3, seed=0):
    """Right shares, (n, classes), with the classes that they brought about."""
    shares = np.random.default_rng(seed).dirichlet(np.ones(classes), rows)
    return shares, truths(shares, seed + 1)


def test_a_known_temperature_is_recovered():
    """Shares sharpened to the third power need a slope of a third, and no shift."""
    shares, classes = drawn()
    slope, shift = calibrated(GRADE.task, apply(shares, 3, [0, 0, 0]), classes)

    assert slope == pytest.approx(1 / 3, abs=0.02)
    assert shift == [0, 0, 0]


def test_platts_slope_and_shift_are_recovered():
    """What was distorted by slope 2 and shift 1 is put right by slope 1/2 and shift -1/2."""
    shares, classes = drawn(classes=2)
    distorted = apply(shares, 2, [0, 1])
    slope, (first, shift) = calibrated(SURVIVAL.task, distorted, classes)

    assert slope == pytest.approx(0.5, abs=0.03)
    assert (first, shift) == (0, pytest.approx(-0.5, abs=0.08))
    assert np.abs(apply(distorted, slope, [first, shift]) - shares).max() < 0.03


def test_right_shares_stay_as_they_are():
    """Slope 1 and shift 0, nearly."""
    slope, (_, shift) = calibrated(SURVIVAL.task, *drawn(classes=2))

    assert slope == pytest.approx(1, abs=0.03)
    assert shift == pytest.approx(0, abs=0.08)


def test_few_rows_hardly_move_anything():
    """Ten rows that all went the wrong way do not turn the answer round: the pull holds."""
    shares = np.tile([0.2, 0.8], (10, 1))
    slope, (_, shift) = calibrated(SURVIVAL.task, shares, np.zeros(10, int))

    assert PULL > 0
    assert 0.6 < slope < 1
    assert -0.4 < shift < 0


def test_calibrating_never_raises_the_loss_it_was_fitted_to():
    """On the very rows, the calibrated cross-entropy is the smaller one."""
    shares, classes = drawn(300)
    sharp = apply(shares, 2, [0, 0, 0])

    assert loss(apply(sharp, *calibrated(GRADE.task, sharp, classes)), classes) < loss(sharp, classes)


def test_the_loss_is_the_mean_cross_entropy():
    """-(log 0.5 + log 0.25) / 2; a share of 0 costs much, not infinitely much."""
    shares = np.array([[0.5, 0.5], [0.75, 0.25]])

    assert loss(shares, np.array([0, 1])) == pytest.approx((np.log(2) + np.log(4)) / 2)
    assert np.isfinite(loss(np.array([[1.0, 0.0]]), np.array([1])))


def test_the_graph_calibrates_as_numpy_does():
    """Slope and shift, shares of 0 among them, to float32's rounding."""
    shares = np.concatenate([drawn(50)[0], [[0, 0, 1], [0.5, 0.5, 0]]])
    slope, shift = 0.7, [0.0, -0.5, 1.25]
    answered = Calibration(slope, shift)(tf.constant(shares, tf.float32)).numpy()

    assert np.abs(answered - apply(shares, slope, shift)).max() < 1e-6


def test_slope_1_and_shift_0_change_nothing():
    """An uncalibrated model has the same graph."""
    shares = drawn(50)[0].astype(np.float32)

    assert np.allclose(Calibration(1, [0, 0, 0])(shares).numpy(), shares, atol=1e-6)


def test_a_single_learner_has_all_the_weight():
    """There is nothing to choose."""
    shares, classes = drawn(50)

    assert blend([shares], classes) == [1]


def test_the_better_learner_gets_the_weight():
    """Of right shares and of nonsense, the right ones, in either place."""
    shares, classes = drawn(2000)
    nonsense = drawn(2000, seed=9)[0]

    assert blend([shares, nonsense], classes)[0] >= 0.9
    assert blend([nonsense, shares], classes)[1] >= 0.9


def test_learners_that_err_differently_are_mixed():
    """Each sees one of two causes: a mixture has less calibrated loss than either alone."""
    generator = np.random.default_rng(2)
    causes = generator.normal(size=(4000, 2))
    event = 1 / (1 + np.exp(-2 * causes.sum(axis=1)))
    classes = truths(np.stack([1 - event, event], axis=1))
    alone = [1 / (1 + np.exp(-cause)) for cause in causes.T]
    learners = [np.stack([1 - one, one], axis=1) for one in alone]
    weights = blend(learners, classes)
    shares = [*learners, np.tensordot(weights, learners, axes=1)]
    losses = [loss(apply(one, *calibrated(SURVIVAL.task, one, classes)), classes) for one in shares]

    assert weights[0] == pytest.approx(0.5, abs=0.15)
    assert sum(weights) == pytest.approx(1)
    assert losses[2] < min(losses[:2]) - 0.02


def binary(seed, rows=20_000, deaths=0.1):
    """Outputs for patients of whom one in ten dies, with a signal that overlaps much, and their outcomes."""
    generator = np.random.default_rng(seed)
    died = (generator.random(rows) < deaths).astype(float)
    logit = np.log(deaths / (1 - deaths)) + (died - 0.5) + generator.normal(size=rows)
    event = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return {SURVIVAL.task.event: event}, died


def grades(seed, rows=20_000):
    shares = np.random.default_rng(seed).dirichlet(np.full(7, 0.7), rows)
    return {"probabilities": shares.astype(np.float32)}, 3.0 + truths(shares, seed + 1)


def numbers(seed, rows=20_000):
    """Means, and deviations that are half of the true ones: the critical values have to make good for it."""
    generator = np.random.default_rng(seed)
    spread = generator.uniform(0.2, 0.6, rows)
    mean = np.full(rows, 6.0)
    truth = mean + 2 * spread * generator.normal(size=rows)
    return {"quality": mean.astype(np.float32), "standard_deviation": spread.astype(np.float32)}, truth


def covered(task, spec, outputs, truth, values):
    """Whether each row's set holds its truth, and the size of the set."""
    inside = task.shares(spec.target, outputs) >= np.asarray(values)
    labels = np.asarray(getattr(task, "classes", (0, 1)))
    return inside[np.arange(len(truth)), np.searchsorted(labels, truth)], inside.sum(axis=1)


@pytest.mark.parametrize("coverage", COVERAGES)
def test_sets_of_grades_cover_fresh_rows(coverage):
    """Of rows that set no critical value the coverage asked for, within 2 %, holds the truth."""
    values = critical_values(GRADE.task, GRADE.target, *grades(1))[str(coverage)]
    outputs, truth = grades(2)
    held, _ = covered(GRADE.task, GRADE, outputs, truth, values)

    assert len(values) == 7
    assert held.mean() == pytest.approx(coverage, abs=0.02)


@pytest.mark.parametrize("coverage", COVERAGES)
def test_intervals_cover_fresh_rows(coverage):
    """However wrong the deviations are, as long as they are wrong alike."""
    values = critical_values(QUALITY.task, QUALITY.target, *numbers(1))[str(coverage)]
    outputs, truth = numbers(2)
    low, high = QUALITY.task.interval(QUALITY.target, outputs, Critical(coverage, values))

    assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(coverage, abs=0.02)


def test_the_rare_class_is_covered_as_the_common_one_is():
    """One in ten dies: sets that are right on average would leave most deaths out."""
    outputs, truth = binary(2)
    task = SURVIVAL.task
    values = critical_values(task, SURVIVAL.target, *binary(1))["0.9"]
    inside, _ = covered(task, SURVIVAL, outputs, truth, values)

    held = inside.mean(), inside[truth == 1].mean(), inside[truth == 0].mean()
    assert held == pytest.approx((0.9, 0.9, 0.9), abs=0.025)


@pytest.mark.parametrize(
    ("spec", "answered"), [(SURVIVAL, binary), (COLOUR, None), (GRADE, grades), (QUALITY, numbers)]
)
def test_a_larger_coverage_has_larger_sets(spec, answered):
    """From 80 to 90 to 95 % no set and no interval gets smaller, and some get larger."""
    outputs, truth = answered(1) if answered else binary(1)
    if spec is COLOUR:
        outputs = {COLOUR.task.event: outputs[SURVIVAL.task.event]}
    values = critical_values(spec.task, spec.target, outputs, truth)
    if spec is QUALITY:
        sizes = [values[str(coverage)][0] for coverage in COVERAGES]
    else:
        sizes = [covered(spec.task, spec, outputs, truth, values[str(one)])[1].mean() for one in COVERAGES]

    assert list(values) == ["0.8", "0.9", "0.95"]
    assert sizes[0] < sizes[1] < sizes[2]


def test_a_task_without_sets_has_no_critical_values():
    """The AND gate promises none."""
    outputs = {"probability": np.float32([0.1, 0.9])}

    assert critical_values(GATE.task, GATE.target, outputs, np.array([0.0, 1.0])) == {}


def test_the_critical_value_is_the_score_of_the_right_rank():
    """Of 10 errors of 1 to 10 deviations, 80 % of 11 is the 9th; 95 % the 11th, which is not there."""
    outputs = {"quality": np.zeros(10), "standard_deviation": np.full(10, 0.5)}
    values = critical_values(QUALITY.task, QUALITY.target, outputs, np.arange(10, 0, -1) / 2)

    assert values == {"0.8": [9], "0.9": [10], "0.95": [10]}


def test_each_class_has_a_value_of_its_own():
    """Four survivors given 0.6 to 0.9, four dead given 0.1 to 0.4: the fourth of four, the least certain."""
    event = np.float32([0.1, 0.2, 0.3, 0.4, 0.1, 0.2, 0.3, 0.4])
    truth = np.repeat([0.0, 1.0], 4)
    values = critical_values(SURVIVAL.task, SURVIVAL.target, {SURVIVAL.task.event: event}, truth)

    assert values["0.8"] == pytest.approx([0.6, 0.1])
    assert values["0.95"] == pytest.approx([0.6, 0.1])


def test_a_class_without_a_row_is_in_every_set():
    """Nobody in the table died: nothing is known of what the dead are given, so death is not ruled out."""
    event = np.float32([0.1, 0.2, 0.3])
    values = critical_values(SURVIVAL.task, SURVIVAL.target, {SURVIVAL.task.event: event}, np.zeros(3))

    assert [one[1] for one in values.values()] == [0, 0, 0]
