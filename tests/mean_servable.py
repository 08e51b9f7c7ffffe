"""A servable that does arithmetic, so that most tests load no TensorFlow."""

from collections.abc import Mapping

import numpy as np

from service.conformal import COVERAGES
from service.features import Matrix
from service.manifest import REQUIRED_FILES, Column, GraphOutput, Manifest, threshold_of
from service.spec import DISTANCE, ModelSpec
from service.tasks import Binary, Multiclass, Outputs

DRAWINGS = {"calibration.png": b"\x89PNG of arithmetic", "confusion.svg": b"<svg/>"}


class MeanServable:
    """Answers from the mean m of a row: probability m / (1 + m), grade m, or the class of that share."""

    def __init__(self, spec: ModelSpec, version: int = 1) -> None:
        self.spec = spec
        self.version = version
        self.digest = "0" * 64
        self.card = f"# {spec.title}\n"
        self.drawings: Mapping[str, bytes] = DRAWINGS
        self.manifest = manifest_of(spec, version)

    def predict(self, matrix: Matrix) -> Outputs:
        mean = matrix.mean(axis=1)
        share = mean / (1 + mean)
        return {**self._answers(mean, share), DISTANCE.name: 100 * share}

    def _answers(self, mean: Matrix, share: Matrix) -> Outputs:
        match self.spec.task:
            case Binary(event=event, complement=complement):
                return {event: share} | ({complement: 1 - share} if complement else {})
            case Multiclass(classes=classes):
                probabilities = np.full((len(mean), len(classes)), 1 / len(classes), np.float32)
                place = (share * (len(classes) - 1)).astype(int)
                probabilities[np.arange(len(mean)), place] += share
                probabilities /= 1 + share[:, None]
                return {
                    "probabilities": probabilities,
                    self.spec.explained: (probabilities * np.asarray(classes))
                    .sum(axis=1)
                    .astype(np.float32)
                    .round(4),
                }
            case _:
                name = self.spec.target.name
                return {name: mean, f"median_{name}": mean + 0.125, "standard_deviation": 0.5 + share}

    def explain(self, matrix: Matrix) -> Outputs:
        zeros = np.zeros((1, matrix.shape[1]), np.float32)
        for column, feature in enumerate(self.spec.features):
            zeros[0, column] = min(feature.levels.values(), default=0)
        # Each column has its own weight, so that two swapped names show.
        attributions = matrix * np.arange(1, matrix.shape[1] + 1, dtype=np.float32)
        return {
            "attributions": attributions,
            "prediction": attributions.sum(axis=1),
            "baseline": zeros,
            "baseline_prediction": np.zeros(1, np.float32),
        }


def manifest_of(spec: ModelSpec, version: int = 1) -> Manifest:
    """A manifest that agrees with the declaration; training saw each feature's whole physical range."""
    shares = [0.0, 0.1, 0.3, 0.4, 0.2, 0.0, 0.0]
    prior = {"binary": [0.851, 0.149], "regression": shares, "multiclass": shares}
    # What binary sets hold from 0.3, 0.2 and 0.1 on; intervals reach 1, 2 and 3 standard deviations.
    critical = {"binary": (0.3, 0.2, 0.1), "regression": (1.0, 2.0, 3.0), "multiclass": (0.3, 0.2, 0.1)}
    length = spec.task.critical_length
    seen = {
        feature.name: {
            "low": feature.low if feature.low is not None else min(feature.levels.values(), default=0),
            "high": feature.high if feature.high is not None else max(feature.levels.values(), default=1),
            "quantiles": [0.0] * 11,
            "levels": sorted(feature.levels.values()) or None,
        }
        for feature in spec.features
    }
    return Manifest.model_validate(
        {
            "model": spec.name,
            "version": version,
            "task": spec.task.name,
            "features": [Column.of(feature) for feature in spec.features],
            "target": Column.of(spec.target),
            "outputs": [GraphOutput.of(output) for output in spec.outputs],
            "explained": spec.explained,
            "threshold": threshold_of(spec),
            "prior": prior[spec.task.name],
            "critical": {
                str(coverage): [value] * length
                for coverage, value in zip(COVERAGES, critical[spec.task.name], strict=True)
                if length
            },
            "seen": seen,
            "training": {
                "recipe": "mean",
                "seed": 0,
                "rows": 0,
                "parameters": 0,
                "data_sha256": {},
                "code_revision": "unknown",
                "libraries": {},
            },
            "quality": {
                "protocol": "none",
                "rows": 0,
                "metrics": {spec.task.main_metric: {"value": 1.0, "low": 0.75, "high": 1.25}},
                "baseline": {spec.task.main_metric: {"value": 2.0}},
                "others": {"linear": {spec.task.main_metric: {"value": 1.5}}},
                "groups": [{"of": "age", "name": "under 60", "rows": 0, "metrics": {}}],
                "covered": [{"coverage": 0.9, "of": "all", "rows": 0, "share": {"value": 0.9}, "size": 1.5}],
                "studies": [{"name": "paper", "protocol": "theirs", "rows": 0, "figures": {}}],
            },
            "provenance": {
                "notice": "Not for use.",
                "credit": "Nobody",
                "errors": "none",
                "limits": ["it is arithmetic"],
                "made_by": "tests/mean_servable.py",
                "drawings": [{"file": file, "title": file.title(), "shows": "nothing"} for file in DRAWINGS],
                "forced": None,
            },
            "golden": {
                "inputs": [[0.0] * len(spec.features)],
                "outputs": {
                    output.name: [[0.0] * output.width if output.width else 0.0] for output in spec.outputs
                },
            },
            "files": dict.fromkeys((*REQUIRED_FILES, *DRAWINGS), ""),
        }
    )
