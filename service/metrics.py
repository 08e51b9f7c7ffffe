"""Evaluation metrics: scikit-learn's, named and grouped per task.

Knows numpy and scikit-learn; knows nothing of HTTP or of where the outputs come from, so training
measures its folds with the very functions that /evaluate answers with.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk

from service.features import Feature
from service.tasks import Binary, Multiclass, Outputs, Regression, Task

Metrics = dict[str, Any]
BINS = 10
TOLERANCES = (0.25, 0.5, 1.0)
# |y - f| of float32 grades misses an exact 0.5 by rounding; 1e-9 in float64 admits it.
ROUNDING = 1e-9


def evaluate(task: Task, target: Feature, outputs: Outputs, targets: NDArray[np.float64]) -> Metrics:
    """Return the task's metrics, `loss` and `accuracy` first, for n rows.

    `outputs` are the graph's arrays; `targets` the codes of the true values, shape (n,). A metric
    that these rows do not define (AUC of one class, R2 of one row) is None, never NaN.
    """
    match task:
        case Binary():
            return binary(_float64(outputs[task.event]), targets.astype(int), task.threshold.value)
        case Regression():
            median = _float64(outputs[f"median_{target.name}"])
            return regression(_float64(outputs[target.name]), median, targets)
        case Multiclass():
            return multiclass(_float64(outputs["probabilities"]), targets.astype(int), task.classes)


def row_losses(
    task: Task, target: Feature, outputs: Outputs, targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each row's own loss, (n,): their mean is the metric `loss` of the same rows."""
    if isinstance(task, Regression):
        return (_float64(outputs[target.name]) - targets) ** 2
    shares = task.shares(target, outputs)
    shares = shares / shares.sum(axis=1, keepdims=True)
    labels = [target.code(label) for label in task.labels(target)]
    happened = shares[np.arange(len(targets)), np.searchsorted(labels, targets)]
    # As scikit-learn bounds it: what was called impossible costs much, not infinitely much.
    losses: NDArray[np.float64] = -np.log(np.maximum(happened, np.finfo(np.float64).eps))
    return losses


def binary(probability: NDArray[np.float64], truth: NDArray[np.int_], threshold: float) -> Metrics:
    """Metrics of the probabilities of the event, shape (n,), against 0/1 truths.

    `accuracy`, `sensitivity` (share of events found), `specificity` and the confusion matrix (rows
    true 0, 1; columns answered 0, 1) are at the threshold; the others need none. Lower is better for
    `loss` (cross-entropy, nats) and `brier` (mean squared error of the probability).
    """
    answered = (probability >= threshold).astype(int)
    confusion = sk.confusion_matrix(truth, answered, labels=[0, 1])
    (true_0, false_1), (false_0, true_1) = confusion.tolist()
    both = 0 < truth.sum() < truth.size
    loss = float(sk.log_loss(truth, probability, labels=[0, 1]))
    return {
        "loss": loss,
        "accuracy": float(sk.accuracy_score(truth, answered)),
        "auc": float(sk.roc_auc_score(truth, probability)) if both else None,
        "average_precision": float(sk.average_precision_score(truth, probability)) if truth.any() else None,
        "brier": float(sk.brier_score_loss(truth, probability, pos_label=1)),
        "log_loss": loss,
        "sensitivity": _share(true_1, true_1 + false_0),
        "specificity": _share(true_0, true_0 + false_1),
        "threshold": threshold,
        "confusion_matrix": confusion.tolist(),
        "calibration": calibration(probability, truth),
    }


def calibration(probability: NDArray[np.float64], truth: NDArray[np.int_]) -> list[dict[str, Any]]:
    """Ten equal bins of the probability: what was said beside what happened; None where a bin is empty."""
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    rows = np.bincount(place, minlength=BINS)
    said = np.bincount(place, weights=probability, minlength=BINS)
    happened = np.bincount(place, weights=truth, minlength=BINS)
    return [
        {
            "low": number / BINS,
            "high": (number + 1) / BINS,
            "rows": int(rows[number]),
            "mean_probability": _share(float(said[number]), int(rows[number])),
            "observed_share": _share(float(happened[number]), int(rows[number])),
        }
        for number in range(BINS)
    ]


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error (Guo et al. 2017, section 2): |confidence - share of right answers|.

    Both (n,); averaged over ten equal bins of the confidence, each weighted by its rows.
    """
    filled = [one for one in calibration(confidence, right.astype(int)) if one["rows"]]
    apart = sum(one["rows"] * abs(one["mean_probability"] - one["observed_share"]) for one in filled)
    return float(apart / len(right))


def regression(
    predicted: NDArray[np.float64], median: NDArray[np.float64], truth: NDArray[np.float64]
) -> Metrics:
    """Metrics of real predictions, shape (n,), in the target's unit; of the median, its mean error alone.

    `loss` is the mean squared error; `accuracy` is the share of rows within half a unit, which is the
    share whose rounded prediction is right when the truth is whole.
    """
    error = np.abs(truth - predicted)
    within = {
        f"within_{tolerance:g}": float(np.mean(error <= tolerance + ROUNDING)) for tolerance in TOLERANCES
    }
    loss = float(sk.mean_squared_error(truth, predicted))
    return {
        "loss": loss,
        "accuracy": within["within_0.5"],
        "mae": float(sk.mean_absolute_error(truth, predicted)),
        "mae_of_median": float(sk.mean_absolute_error(truth, median)),
        "rmse": loss**0.5,
        "r2": float(sk.r2_score(truth, predicted)) if np.ptp(truth) > 0 else None,
        **within,
        "kappa": _kappa(truth, predicted, None),
        "quadratic_kappa": _kappa(truth, predicted, "quadratic"),
    }


def _kappa(truth: NDArray[np.float64], predicted: NDArray[np.float64], weights: str | None) -> float | None:
    """Cohen's kappa of whole truths and rounded predictions; None if all are equal, or a truth not whole."""
    whole, rounded = np.rint(truth).astype(int), np.rint(predicted).astype(int)
    if np.ptp(np.concatenate([whole, rounded])) == 0 or np.any(np.abs(truth - whole) > ROUNDING):
        return None
    return float(sk.cohen_kappa_score(whole, rounded, weights=weights))


def multiclass(
    probabilities: NDArray[np.float64], truth: NDArray[np.int_], classes: tuple[int, ...]
) -> Metrics:
    """Metrics of class probabilities, shape (n, len(classes)), against true class labels.

    The most probable class is the answer; the confusion matrix has a row for each true class and a
    column for each answered one, in the order of `classes`.
    """
    answered = np.asarray(classes)[probabilities.argmax(axis=1)]
    # float32 shares sum to 1 within 1e-7, log_loss insists on float64's precision.
    shares = probabilities / probabilities.sum(axis=1, keepdims=True)
    loss = float(sk.log_loss(truth, shares, labels=list(classes)))
    several = np.unique(np.concatenate([truth, answered])).size > 1
    kappa = (
        sk.cohen_kappa_score(truth, answered, labels=list(classes), weights="quadratic") if several else None
    )
    return {
        "loss": loss,
        "accuracy": float(sk.accuracy_score(truth, answered)),
        "macro_f1": float(sk.f1_score(truth, answered, average="macro", zero_division=0)),
        "quadratic_kappa": None if kappa is None else float(kappa),
        "log_loss": loss,
        "calibration_error": calibration_error(probabilities.max(axis=1), answered == truth),
        "classes": list(classes),
        "confusion_matrix": sk.confusion_matrix(truth, answered, labels=list(classes)).tolist(),
    }


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _float64(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return values.astype(np.float64)
