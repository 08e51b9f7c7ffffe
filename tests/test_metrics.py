"""Metrics against cases that can be computed by hand, and against formulas written independently."""

import math

import numpy as np
import pytest

from mean_servable import MeanServable
from service import metrics
from service.spec import ModelSpec
from service.tasks import Binary

# Four rows: events at 0.8 and 0.4, none at 0.6 and 0.1.
PROBABILITY = np.asarray([0.8, 0.4, 0.6, 0.1])
TRUTH = np.asarray([1, 1, 0, 0])


def test_binary_metrics_of_four_rows() -> None:
    """Every figure derived by hand in the comments."""
    answer = metrics.binary(PROBABILITY, TRUTH, threshold=0.5)

    loss = -(math.log(0.8) + math.log(0.4) + math.log(0.4) + math.log(0.9)) / 4
    assert answer["loss"] == answer["log_loss"] == pytest.approx(loss)
    # 0.8 right, 0.4 missed, 0.6 a false alarm, 0.1 right.
    assert answer["accuracy"] == 0.5
    assert answer["confusion_matrix"] == [[1, 1], [1, 1]]
    assert answer["sensitivity"] == answer["specificity"] == 0.5
    # Of four pairs (event, other) only (0.4, 0.6) is in the wrong order.
    assert answer["auc"] == 0.75
    # Precision at the first event 1, at the second 2/3, each half of the recall.
    assert answer["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert answer["brier"] == pytest.approx((0.2**2 + 0.6**2 + 0.6**2 + 0.1**2) / 4)


def test_the_rows_own_losses_average_to_the_loss(spec: ModelSpec) -> None:
    """For each kind of answer, a certainty that was wrong included."""
    servable = MeanServable(spec)
    generator = np.random.default_rng(0)
    matrix = generator.uniform(0, 9, (50, len(spec.features))).astype(np.float32)
    labels = [spec.target.code(label) for label in spec.task.labels(spec.target)] or [4.5, 6.0]
    targets = generator.choice(np.asarray(labels, np.float64), 50)
    outputs = dict(servable.predict(matrix))
    if isinstance(spec.task, Binary):
        outputs[spec.task.event] = np.where(targets == 1, 0, outputs[spec.task.event]).astype(np.float32)

    losses = metrics.row_losses(spec.task, spec.target, outputs, targets)
    answer = metrics.evaluate(spec.task, spec.target, outputs, targets)

    assert losses.mean() == pytest.approx(answer["loss"])
    main = answer[spec.task.main_metric]
    assert main == pytest.approx(losses.mean() ** (0.5 if spec.task.main_metric == "rmse" else 1))


def test_the_threshold_itself_answers_the_event() -> None:
    """At least the threshold, not above it."""
    assert metrics.binary(np.asarray([0.5]), np.asarray([1]), threshold=0.5)["accuracy"] == 1


def test_calibration_bins_hold_every_row_once() -> None:
    """Ten bins, the last closed at 1; an empty one says null."""
    bins = metrics.calibration(np.asarray([0.0, 0.05, 0.1, 0.999, 1.0]), np.asarray([0, 1, 0, 1, 1]))

    assert [part["rows"] for part in bins] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert bins[0]["mean_probability"] == pytest.approx(0.025)
    assert bins[0]["observed_share"] == 0.5
    assert bins[5]["mean_probability"] is None
    assert (bins[9]["low"], bins[9]["high"]) == (0.9, 1.0)


@pytest.mark.parametrize(("truth", "missing"), [(0, "average_precision"), (1, "specificity")])
def test_what_one_class_does_not_define_is_none(truth: int, missing: str) -> None:
    """AUC needs both classes, average precision an event, specificity a non-event."""
    answer = metrics.binary(np.asarray([0.3, 0.9]), np.full(2, truth), threshold=0.5)

    assert answer["auc"] is None
    assert answer[missing] is None
    assert math.isfinite(answer["loss"])


def test_certainty_that_is_wrong_has_a_finite_loss() -> None:
    """A probability of 0 for what happened must not answer infinity: JSON has no such number."""
    assert math.isfinite(metrics.binary(np.asarray([0.0]), np.asarray([1]), 0.5)["loss"])
    assert math.isfinite(metrics.multiclass(np.eye(7)[[0]], np.asarray([9]), tuple(range(3, 10)))["loss"])


def test_regression_metrics_of_four_rows() -> None:
    """Errors 0.5 (exactly), 0.25, 1 and 0."""
    truth = np.asarray([6.0, 5.0, 7.0, 5.0])
    median = np.asarray([6.25, 5.0, 7.0, 5.0])
    answer = metrics.regression(np.asarray([6.5, 5.25, 6.0, 5.0]), median, truth)

    squared = (0.25 + 0.0625 + 1) / 4
    assert answer["loss"] == pytest.approx(squared)
    assert answer["rmse"] == pytest.approx(math.sqrt(squared))
    assert answer["mae"] == pytest.approx(1.75 / 4)
    assert answer["mae_of_median"] == pytest.approx(0.25 / 4)
    # Mean 5.75; squared distances 0.0625, 0.5625, 1.5625, 0.5625.
    assert answer["r2"] == pytest.approx(1 - 4 * squared / 2.75)
    assert (answer["within_0.25"], answer["within_0.5"], answer["within_1"]) == (0.5, 0.75, 1)
    assert answer["accuracy"] == 0.75
    # Answers 6, 5, 6, 5, one of the truths 6, 5, 7, 5 missed: by chance 2/4 * 2/4 + 1/4 * 2/4 agree.
    assert answer["kappa"] == pytest.approx((0.75 - 0.375) / (1 - 0.375))
    assert answer["quadratic_kappa"] == pytest.approx(kappa(np.asarray([[2, 0, 0], [0, 1, 0], [0, 1, 0]])))


def test_agreement_of_targets_that_are_not_whole_is_none() -> None:
    """Rounding the truth would make it another one."""
    answer = metrics.regression(*[np.asarray([5.0, 6.5])] * 3)

    assert answer["kappa"] is None
    assert answer["quadratic_kappa"] is None


def test_a_float32_prediction_at_an_exact_half_is_within_it() -> None:
    """Rounding must not push 5.7 - 5.2 out of the tolerance."""
    one = np.asarray([5.7])
    assert metrics.regression(one, one, np.asarray([5.2]))["within_0.5"] == 1


def test_r2_of_equal_targets_is_none() -> None:
    """One grade only: nothing to explain."""
    two = np.asarray([5.0, 6.0])
    assert metrics.regression(two, two, np.asarray([5.0, 5.0]))["r2"] is None


def test_multiclass_metrics_of_three_rows() -> None:
    """Answers 3, 4, 5 for truths 3, 4, 4."""
    probabilities = np.asarray([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.3, 0.6]])
    answer = metrics.multiclass(probabilities, np.asarray([3, 4, 4]), (3, 4, 5))

    assert answer["loss"] == pytest.approx(-(math.log(0.7) + math.log(0.6) + math.log(0.3)) / 3)
    assert answer["accuracy"] == pytest.approx(2 / 3)
    assert answer["confusion_matrix"] == [[1, 0, 0], [0, 1, 1], [0, 0, 0]]
    # Confidences 0.7, 0.6, 0.6, of which the first two are right: |0.7 - 1| / 3 + |1.2 - 1| / 3.
    assert answer["calibration_error"] == pytest.approx((0.3 + 0.2) / 3)
    # F1: 3 -> 1; 4 -> precision 1, recall 1/2 -> 2/3; 5 -> 0.
    assert answer["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert answer["quadratic_kappa"] == pytest.approx(kappa(np.asarray(answer["confusion_matrix"])))


def kappa(confusion: np.ndarray) -> float:
    """Quadratic weighted kappa from its definition (Cohen 1968), independent of scikit-learn."""
    size = len(confusion)
    weights = np.subtract.outer(np.arange(size), np.arange(size)) ** 2
    expected = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / confusion.sum()
    return float(1 - (weights * confusion).sum() / (weights * expected).sum())


def test_kappa_of_a_single_class_is_none() -> None:
    """All rows of one grade, all answered so: agreement beyond chance is not defined."""
    assert (
        metrics.multiclass(np.asarray([[1.0, 0, 0]] * 3), np.full(3, 3), (3, 4, 5))["quadratic_kappa"] is None
    )
