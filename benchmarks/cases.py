"""What is posted to the servers that are compared, and what each of them has to answer.

Knows the declarations and the artifacts; knows nothing of processes or of time.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import Check, Load
from service.features import to_matrix
from service.models import MODELS
from service.spec import ModelSpec
from service.tasks import Outputs

JSON, CSV = "application/json", "text/csv"
ARTIFACTS = Path("artifacts")
# A lone row is rounded otherwise than rows of a call: compared are numbers, to this.
CLOSE = 1e-4
FLOOR, TUTORIAL, SERVICE, BEFORE, WORKERS = "floor", "tutorial", "service", "before", "workers"
PORTS = {FLOOR: 9100, SERVICE: 9101, WORKERS: 9102, BEFORE: 9103, TUTORIAL: 9110}


@dataclass(frozen=True)
class Case:
    """What is posted by how many clients at a time."""

    model: str
    rows: int
    connections: int
    media: str = JSON


def newest(model: str) -> Path:
    """The folder of a model's newest version."""
    home = ARTIFACTS / model
    return max((path for path in home.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


def instances_of(spec: ModelSpec, rows: int) -> list[dict[str, Any]]:
    """Rows that differ: each number of the example in turn, a little below it."""
    numbers = [feature for feature in spec.features if feature.kind == "quantity" and not feature.at_most]
    instances = [dict(spec.example) for _ in range(rows)]
    for place, instance in enumerate(instances[1:]):
        if numbers:
            feature = numbers[place % len(numbers)]
            value = float(spec.example[feature.name])
            # Not below a part of it.
            part = next((one.name for one in spec.parts if one.at_most == feature.name), None)
            least = float(spec.example[part]) if part else (feature.low or 0)
            instance[feature.name] = round(value - (value - least) * (place % 97) / 1000, 6)
        else:
            instance.update({feature.name: place >> bit & 1 for bit, feature in enumerate(spec.features)})
    return instances


def expected_of(spec: ModelSpec, rows: int) -> Outputs:
    """What the graph answers to the rows, when it is called directly."""
    from service.servable import SavedModelServable

    instances = [spec.row.model_validate(instance) for instance in instances_of(spec, rows)]
    return SavedModelServable(newest(spec.name), spec).predict(to_matrix(spec.row, instances))


def load_of(case: Case, server: str, expected: Outputs) -> Load:
    """What is posted to a server, with the check of its answers; `expected` has the case's rows at least."""
    spec = MODELS[case.model]
    instances = instances_of(spec, case.rows)
    lines = [",".join(map(str, instance.values())) for instance in instances]
    body = (
        json.dumps({"instances": instances})
        if case.media == JSON
        else "\n".join([",".join(instances[0]), *lines, ""])
    )
    port = PORTS[server] + (list(MODELS).index(case.model) if server == TUTORIAL else 0)
    path = "" if server in (FLOOR, TUTORIAL) else f"models/{spec.name}/predict"
    checks = {FLOOR: _check_floor, TUTORIAL: _check_tutorial, BEFORE: _check_before}
    check = checks.get(server, _check_service)
    return Load(
        f"http://127.0.0.1:{port}/{path}", body.encode(), case.media, check(spec, case.rows, expected)
    )


def _check_floor(_: ModelSpec, rows: int, __: Outputs) -> Check:
    def check(answer: bytes) -> None:
        assert json.loads(answer) == {"rows": rows}

    return check


def _check_tutorial(_: ModelSpec, rows: int, expected: Outputs) -> Check:
    def check(answer: bytes) -> None:
        for name, values in json.loads(answer).items():
            np.testing.assert_allclose(values, expected[name][:rows], atol=CLOSE)

    return check


def _check_before(_: ModelSpec, rows: int, __: Outputs) -> Check:
    """Another checkout may have other artifacts: only that every row is answered."""

    def check(answer: bytes) -> None:
        assert len(json.loads(answer)["predictions"]) == rows

    return check


def _check_service(spec: ModelSpec, rows: int, expected: Outputs) -> Check:
    def check(answer: bytes) -> None:
        predictions = [one | one["applicability"] for one in json.loads(answer)["predictions"]]
        for output in spec.outputs:
            values = [one[output.name] for one in predictions]
            if output.width:
                values = [list(one.values()) for one in values]
            np.testing.assert_allclose(values, expected[output.name][:rows], atol=CLOSE)

    return check
