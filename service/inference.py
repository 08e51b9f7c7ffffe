"""The use cases predict, what-if, evaluate, explain and raw: validated instances in, a job out.

A job is the rows that the graph has to compute and the way in which its outputs read as an answer: when
and with whose rows beside them they are computed is the engine's. No HTTP in it, and no TensorFlow.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import accumulate, chain, islice
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from msgspec import Struct
from pydantic_core import to_json

from service import bootstrap, metrics
from service.errors import TooLarge
from service.features import Cells, Matrix
from service.instances import Instances
from service.metrics import Metrics
from service.parameters import Parameters, PredictParameters, WhatIfParameters
from service.quality import Figure
from service.registry import Servable
from service.spec import DISTANCE
from service.sweep import sweep
from service.tasks import Columns, Outputs
from service.wording import Fields, listed, with_first, with_last, worded

# An explanation costs as much as some hundred predictions: of a wine, 2 to 3 ms.
MAX_EXPLAINED = 250
# Rows of one call. It bounds memory, and how long a call stops the loop: a row of a kernel machine takes ten
# to twenty microseconds, its wording 2. Of 128 rows at a time a cheap graph takes twice as long or more. An
# explanation takes a row along 128 nodes.
CALL_ROWS = 640
EXPLAINED_ROWS = 2
ANSWERS = "answers"
# Rows that are worded one by one: by columns they would take longer.
PLAIN_ROWS = 4
# The features of most rows that lie outside of what training saw.
NOTHING = b"[]"
# The opening of each version's predictions by coverage, which is the same for every request.
_OPENINGS: WeakKeyDictionary[Servable, dict[float, bytes]] = WeakKeyDictionary()


class Job(Struct, frozen=True):
    """Rows, what computes columns (n,) of at most `rows` of them, and what makes bytes of the columns of all.

    Of an action that is shared, `together` answers the rows too, in a call with those of other jobs: worded
    at this coverage, or where it is None with the graph's outputs.
    """

    compute: Callable[[Matrix], Columns | Outputs]
    cells: Cells
    answer: Callable[[Any], bytes]
    rows: int = CALL_ROWS
    coverage: float | None = None


class Raw(NamedTuple):
    """The options of `raw`: what makes an answer of the version that gave it and of its declared outputs."""

    word: Callable[[Servable, Outputs], bytes]
    rows_each: int = 1


def together(servable: Servable, jobs: Sequence[Job]) -> list[Columns | Outputs]:
    """Compute jobs of shared actions in one call: of each the columns that its `answer` reads."""
    if len(jobs) == 1:
        return [jobs[0].compute(np.asarray(jobs[0].cells, np.float32))]
    matrix = _matrix(jobs)
    found = servable.predict(matrix)
    ends = accumulate(len(job.cells) for job in jobs)
    parts = [slice(end - len(job.cells), end) for job, end in zip(jobs, ends, strict=True)]
    # Nearly always there is one, and it is not None.
    coverage, *others = asked = {job.coverage for job in jobs}
    if coverage is not None and not others:
        answers = _worded(servable, matrix, found, coverage)
        return [{ANSWERS: answers[part]} for part in parts]
    columns: list[Columns | Outputs] = [_part(found, part) for part in parts]
    for coverage in asked:
        if coverage is None:
            continue
        chosen = [place for place, job in enumerate(jobs) if job.coverage == coverage]
        rows = np.concatenate([np.arange(parts[place].start, parts[place].stop) for place in chosen])
        texts = iter(_worded(servable, matrix[rows], _part(found, rows), coverage))
        for place in chosen:
            columns[place] = {ANSWERS: list(islice(texts, len(jobs[place].cells)))}
    return columns


def _matrix(jobs: Sequence[Job]) -> Matrix:
    """The rows of all jobs, float32 (n, d)."""
    if any(isinstance(job.cells, np.ndarray) for job in jobs):
        return np.concatenate([np.asarray(job.cells, np.float32) for job in jobs])
    # One list costs a tenth of as many arrays of a row.
    return np.asarray(list(chain.from_iterable(job.cells for job in jobs)), np.float32)


def _part(found: Outputs, rows: Any) -> Outputs:
    """What the graph answered some rows."""
    return {name: values[rows] for name, values in found.items()}


def raw(servable: Servable, instances: Instances, parameters: Raw) -> Job:
    """Answer with the declared outputs of the graph, float32 (n,) or (n, width), worded all at once.

    This is what dialects ask: no prediction is worded, no row is looked at. `parameters.word` may run on a
    thread.
    """
    return Job(servable.predict, instances.cells, partial(parameters.word, servable))


def predict(servable: Servable, instances: Instances, parameters: PredictParameters) -> Job:
    """Answer each instance, in order, as `PredictResponse` documents."""
    opening = _opening(servable, parameters.coverage)

    def answer(columns: Columns) -> bytes:
        return opening + listed(_numbered(instances, columns[ANSWERS])) + b"}"

    compute = partial(_answered, servable, parameters.coverage)
    return Job(compute, instances.cells, answer, coverage=parameters.coverage)


def what_if(servable: Servable, instances: Instances, parameters: WhatIfParameters) -> Job:
    """Predict each instance anew for every value of one feature, as `WhatIfResponse` documents.

    Each point is what `predict` answers for the row with that value. Raises TooLarge.
    """
    spec = servable.spec
    feature = next(one for one in spec.features if one.name == parameters.feature)
    seen = servable.manifest.seen[feature.name]
    matrix = instances.matrix
    swept = sweep(spec, feature, seen, matrix, parameters.points)
    own = matrix[:, spec.features.index(feature)].tolist()

    def answer(columns: Columns) -> bytes:
        values = [to_json(feature.value(code)) for code in swept.values.tolist()]
        points = iter(with_first("value", values, columns[ANSWERS]))
        curves = [
            b'{"value":%b,"points":%b}' % (to_json(feature.value(code)), listed(list(islice(points, size))))
            for code, size in zip(own, swept.sizes, strict=True)
        ]
        varied = {"feature": feature.name, "unit": feature.unit}
        reading = to_json(_reading(servable, parameters.coverage) | varied)
        return with_last("curves", listed(_numbered(instances, curves)), reading)

    compute = partial(_answered, servable, parameters.coverage)
    return Job(compute, swept.matrix, answer, coverage=parameters.coverage)


def evaluate(servable: Servable, instances: Instances, _: Parameters) -> Job:
    """Measure the model on labelled instances: loss and accuracy first, the trivial baseline beside.

    The baseline answers what the training table answers on average, whatever the row: its class
    shares, or its mean. It is given the very same rows and metrics.
    """
    spec, targets = servable.spec, instances.targets
    assert targets is not None, "the judge of /evaluate lets no unlabelled body through"

    def answer(columns: Columns) -> bytes:
        constant = spec.task.trivial(spec.target, servable.manifest.prior, len(targets))
        found = {name: np.asarray(values, np.float32) for name, values in columns.items()}
        measured = metrics.evaluate(spec.task, spec.target, found, targets)
        losses = metrics.row_losses(spec.task, spec.target, found, targets)
        groups = bootstrap.groups_of_equal(instances.matrix)
        bounds = bootstrap.interval(losses, groups)
        comparison = _comparison(servable, measured, bounds, groups.max() + 1)
        baseline = metrics.evaluate(spec.task, spec.target, constant, targets)
        beside = {"rows": len(targets), "comparison": comparison, "baseline": baseline}
        return to_json(measured | beside | _identity(servable))

    return Job(partial(outputs, servable), instances.cells, answer)


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


def explain(servable: Servable, instances: Instances, _: Parameters) -> Job:
    """Say for each instance which feature moved its prediction by how much (`ExplainResponse`).

    Raises TooLarge.
    """
    spec = servable.spec
    if instances.rows > MAX_EXPLAINED:
        raise TooLarge(f"A request may explain at most {MAX_EXPLAINED:,} instances; send fewer at a time.")
    names = [feature.name for feature in spec.features]

    def answer(columns: Columns) -> bytes:
        baseline = columns["baseline_prediction"][0]
        pairs = zip(columns["attributions"], columns["prediction"], strict=True)
        explanations = [
            to_json(
                {
                    "attributions": dict(zip(names, attributions, strict=True)),
                    "prediction": prediction,
                    "baseline_prediction": baseline,
                    "residual": prediction - baseline - sum(attributions),
                }
            )
            for attributions, prediction in pairs
        ]
        start = {
            feature.name: feature.value(code)
            for feature, code in zip(spec.features, columns["baseline"][0], strict=True)
        }
        explained = {"explained": spec.explained, "baseline": start}
        said = to_json(_identity(servable) | explained)
        return with_last("explanations", listed(_numbered(instances, explanations)), said)

    return Job(partial(_explanations, servable), instances.cells, answer, EXPLAINED_ROWS)


def outputs(servable: Servable, matrix: Matrix) -> dict[str, Sequence[Any]]:
    """The declared outputs for rows (n, d)."""
    return _lists(servable.predict(matrix))


def _lists(found: Outputs) -> dict[str, Sequence[Any]]:
    return {name: values.tolist() for name, values in found.items()}


def _answered(servable: Servable, coverage: float, matrix: Matrix) -> Columns:
    """One column, ANSWERS: what each row (n, d) is answered with."""
    return {ANSWERS: _worded(servable, matrix, servable.predict(matrix), coverage)}


def _worded(servable: Servable, matrix: Matrix, found: Outputs, coverage: float) -> list[bytes]:
    """What each row (n, d) is answered with at this coverage, as JSON."""
    spec, manifest = servable.spec, servable.manifest
    if len(matrix) <= PLAIN_ROWS:
        return [to_json(answer) for answer in _plain(servable, matrix, found, coverage)]
    outside = [to_json(names) if names else NOTHING for names in manifest.applicability.outside(matrix)]
    applicability: Fields = {"outside": outside, "distance_percentile": found[DISTANCE.name]}
    answers = spec.task.answers(spec.target, found, manifest.critical_at(coverage))
    return worded({**answers, "applicability": applicability})


def _plain(servable: Servable, matrix: Matrix, found: Outputs, coverage: float) -> Iterator[dict[str, Any]]:
    """The same of few rows, as Python's objects."""
    spec, manifest = servable.spec, servable.manifest
    critical, applicability = manifest.critical_at(coverage), manifest.applicability
    names = [output.name for output in spec.outputs]
    outputs = zip(*(found[name].tolist() for name in names), strict=True)
    for features, numbers in zip(matrix.tolist(), outputs, strict=True):
        row = dict(zip(names, numbers, strict=True))
        answer = spec.task.answer(spec.target, row, critical)
        outside = applicability.outside_of(features)
        answer["applicability"] = {"outside": outside, "distance_percentile": row[DISTANCE.name]}
        yield answer


def _explanations(servable: Servable, matrix: Matrix) -> Columns:
    """Attributions and prediction of each row (n, d), the baseline row and its prediction."""
    return _lists(servable.explain(matrix))


def _opening(servable: Servable, coverage: float) -> bytes:
    """A prediction's JSON up to the list of predictions."""
    openings = _OPENINGS.get(servable) or _OPENINGS.setdefault(servable, {})
    if coverage not in openings:
        openings[coverage] = to_json(_reading(servable, coverage))[:-1] + b',"predictions":'
    return openings[coverage]


def _reading(servable: Servable, coverage: float) -> dict[str, Any]:
    """What predictions are to be read by (`Reading`)."""
    spec, manifest = servable.spec, servable.manifest
    labels = spec.task.labels(spec.target)
    return {
        "model": spec.name,
        "version": servable.version,
        "threshold": spec.threshold,
        "base_rate": dict(zip(map(str, labels), manifest.prior, strict=True)) if labels else None,
        "coverage": coverage if manifest.critical else None,
    }


def _numbered(instances: Instances, answers: Sequence[bytes]) -> Sequence[bytes]:
    """The answers with the ids that their rows came with, if they did."""
    if instances.ids is None:
        return answers
    return with_first("id", [to_json(number) for number in instances.ids], answers)


def _identity(servable: Servable) -> dict[str, Any]:
    return {"model": servable.spec.name, "version": servable.version}
