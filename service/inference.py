"""The use cases predict, evaluate and explain: validated instances in, plain answers out.

No HTTP in it, and no TensorFlow: any servable will do.
"""

from typing import Any

import numpy as np

from service import metrics
from service.features import Matrix
from service.judge import Instances
from service.manifest import Manifest
from service.registry import Servable
from service.spec import ModelSpec


def predict(servable: Servable, instances: Instances) -> dict[str, Any]:
    """Answer each instance, in order, as `PredictResponse` documents."""
    spec = servable.spec
    answers = spec.task.answers(spec.target, servable.predict(instances.matrix))
    for answer, outside in zip(
        answers, outside_training(servable.manifest, spec, instances.matrix), strict=True
    ):
        answer["applicability"] = {"outside": outside}
    threshold = spec.threshold
    named = {"threshold": {"name": threshold.name, "value": threshold.value}} if threshold else {}
    return _identity(servable) | named | {"predictions": _numbered(instances, answers)}


def evaluate(servable: Servable, instances: Instances) -> dict[str, Any]:
    """Measure the model on labelled instances: loss and accuracy first, the trivial baseline beside.

    The baseline answers what the training table answers on average, whatever the row: its class
    shares, or its mean. It is given the very same rows and metrics.
    """
    spec, targets = servable.spec, instances.targets
    assert targets is not None, "the judge of /evaluate lets no unlabelled body through"
    outputs = servable.predict(instances.matrix)
    constant = spec.task.trivial(spec.target, servable.manifest.prior, len(targets))
    return (
        metrics.evaluate(spec.task, spec.target, outputs, targets)
        | {"rows": len(targets)}
        | {"baseline": metrics.evaluate(spec.task, spec.target, constant, targets)}
        | _identity(servable)
    )


def explain(servable: Servable, instances: Instances) -> dict[str, Any]:
    """Say for each instance which feature moved its prediction by how much (`ExplainResponse`)."""
    spec = servable.spec
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
