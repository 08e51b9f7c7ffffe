"""The use cases predict, what-if, evaluate and explain: validated instances in, plain answers out.

No HTTP in it, and no TensorFlow: any servable will do.
"""

from itertools import islice
from typing import Any

import numpy as np

from service import bootstrap, metrics
from service.errors import TooLarge
from service.features import Matrix
from service.judge import Instances
from service.manifest import Manifest
from service.metrics import Metrics
from service.parameters import Parameters, PredictParameters, WhatIfParameters
from service.quality import Figure
from service.registry import Servable
from service.spec import DISTANCE, ModelSpec
from service.sweep import sweep

# An explanation costs as much as some hundred predictions: of a wine, 15 to 40 ms.
MAX_EXPLAINED = 250


def predict(servable: Servable, instances: Instances, parameters: PredictParameters) -> dict[str, Any]:
    """Answer each instance, in order, as `PredictResponse` documents."""
    answers = _predictions(servable, instances.matrix, parameters.coverage)
    return _reading(servable, parameters) | {"predictions": _numbered(instances, answers)}


def what_if(servable: Servable, instances: Instances, parameters: WhatIfParameters) -> dict[str, Any]:
    """Predict each instance anew for every value of one feature, as `WhatIfResponse` documents.

    Each point is what `predict` answers for the row with that value. Raises TooLarge.
    """
    spec = servable.spec
    feature = next(one for one in spec.features if one.name == parameters.feature)
    seen = servable.manifest.seen[feature.name]
    swept = sweep(spec, feature, seen, instances.matrix, parameters.points)
    answers = _predictions(servable, swept.matrix, parameters.coverage)
    values = (feature.value(code) for code in swept.values.tolist())
    points = ({"value": value} | answer for value, answer in zip(values, answers, strict=True))
    own = instances.matrix[:, spec.features.index(feature)].tolist()
    curves = [
        {"value": feature.value(code), "points": list(islice(points, size))}
        for code, size in zip(own, swept.sizes, strict=True)
    ]
    varied = {"feature": feature.name, "unit": feature.unit}
    return _reading(servable, parameters) | varied | {"curves": _numbered(instances, curves)}


def evaluate(servable: Servable, instances: Instances, _: Parameters) -> dict[str, Any]:
    """Measure the model on labelled instances: loss and accuracy first, the trivial baseline beside.

    The baseline answers what the training table answers on average, whatever the row: its class
    shares, or its mean. It is given the very same rows and metrics.
    """
    spec, targets = servable.spec, instances.targets
    assert targets is not None, "the judge of /evaluate lets no unlabelled body through"
    outputs = servable.predict(instances.matrix)
    constant = spec.task.trivial(spec.target, servable.manifest.prior, len(targets))
    measured = metrics.evaluate(spec.task, spec.target, outputs, targets)
    losses = metrics.row_losses(spec.task, spec.target, outputs, targets)
    groups = bootstrap.groups_of_equal(instances.matrix)
    bounds = bootstrap.interval(losses, groups)
    return (
        measured
        | {"rows": len(targets), "comparison": _comparison(servable, measured, bounds, groups.max() + 1)}
        | {"baseline": metrics.evaluate(spec.task, spec.target, constant, targets)}
        | _identity(servable)
    )


def _comparison(
    servable: Servable, measured: Metrics, bounds: tuple[float, float] | None, rows: int
) -> dict[str, Any]:
    """The main metric on so many different rows beside the card's; `bounds` are those of the loss."""
    metric = servable.spec.task.main_metric
    low, high = bounds or (None, None)
    if bounds and metric == "rmse":
        low, high = bounds[0] ** 0.5, bounds[1] ** 0.5
    found = Figure(value=measured[metric], low=low, high=high)
    quality = servable.manifest.quality
    card = quality.metrics.get(metric)
    verdict = bootstrap.verdict(found, rows, card, quality.rows)
    said = {"card": card.model_dump() if card else None, "verdict": verdict}
    return {"metric": metric} | found.model_dump() | said


def explain(servable: Servable, instances: Instances, _: Parameters) -> dict[str, Any]:
    """Say for each instance which feature moved its prediction by how much (`ExplainResponse`).

    Raises TooLarge.
    """
    spec = servable.spec
    if len(instances.matrix) > MAX_EXPLAINED:
        raise TooLarge(f"A request may explain at most {MAX_EXPLAINED:,} instances; send fewer at a time.")
    outputs = servable.explain(instances.matrix)
    names = [feature.name for feature in spec.features]
    baseline = float(outputs["baseline_prediction"][0])
    pairs = zip(outputs["attributions"].tolist(), outputs["prediction"].tolist(), strict=True)
    explanations = [
        {
            "attributions": dict(zip(names, attributions, strict=True)),
            "prediction": prediction,
            "baseline_prediction": baseline,
            "residual": prediction - baseline - sum(attributions),
        }
        for attributions, prediction in pairs
    ]
    return _identity(servable) | {
        "explained": spec.explained,
        "baseline": {
            feature.name: feature.value(code)
            for feature, code in zip(spec.features, outputs["baseline"][0].tolist(), strict=True)
        },
        "explanations": _numbered(instances, explanations),
    }


def _predictions(servable: Servable, matrix: Matrix, coverage: float) -> list[dict[str, Any]]:
    """The model's answer for each row, with how far the row is from those of training."""
    spec, manifest = servable.spec, servable.manifest
    outputs = servable.predict(matrix)
    answers = spec.task.answers(spec.target, outputs, manifest.critical_at(coverage))
    outside = outside_training(manifest, spec, matrix)
    percentiles = outputs[DISTANCE.name].tolist()
    for answer, names, percentile in zip(answers, outside, percentiles, strict=True):
        answer["applicability"] = {"outside": names, "distance_percentile": percentile}
    return answers


def _reading(servable: Servable, parameters: PredictParameters) -> dict[str, Any]:
    """What predictions are to be read by (`Reading`)."""
    spec, manifest = servable.spec, servable.manifest
    labels = [str(label) for label in spec.task.labels(spec.target)]
    return _identity(servable) | {
        "threshold": spec.threshold,
        "base_rate": dict(zip(labels, manifest.prior, strict=True)) if labels else None,
        "coverage": parameters.coverage if manifest.critical else None,
    }


def outside_training(manifest: Manifest, spec: ModelSpec, matrix: Matrix) -> list[list[str]]:
    """Return for each row the features whose value training never came near: out of range, or a new level."""
    seen = [manifest.seen[feature.name] for feature in spec.features]
    low = np.asarray([column.low for column in seen], np.float32)
    high = np.asarray([column.high for column in seen], np.float32)
    outside = (matrix < low) | (matrix > high)
    for column, summary in enumerate(seen):
        if summary.levels is not None:
            outside[:, column] |= ~np.isin(matrix[:, column], summary.levels)
    found: list[list[str]] = [[] for _ in range(len(matrix))]
    for row, column in np.argwhere(outside):
        found[row].append(spec.features[column].name)
    return found


def _numbered(instances: Instances, answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers with the ids that their rows came with, if they did."""
    if instances.ids is None:
        return answers
    return [{"id": number} | answer for number, answer in zip(instances.ids, answers, strict=True)]


def _identity(servable: Servable) -> dict[str, Any]:
    return {"model": servable.spec.name, "version": servable.version}
