"""What a prediction says, body by body: probabilities, sets, intervals and what to read them by."""

from typing import Any

import httpx
import numpy as np
import pytest
from pydantic_core import from_json

from mean_servable import MeanServable
from rows import changed, document
from service.conformal import COVERAGES
from service.features import Cells, Matrix, to_matrix
from service.inference import Raw, predict, raw, together
from service.instances import Instances
from service.models import MODELS
from service.parameters import PredictParameters
from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Outputs, Regression, Threshold

pytestmark = pytest.mark.anyio

SURVIVAL, GRADE, QUALITY = MODELS["survival"], MODELS["wine_grade"], MODELS["wine_quality"]


async def predicted(client: httpx.AsyncClient, spec: ModelSpec, **options: Any) -> dict[str, Any]:
    body = document(spec, spec.example, **options)
    return (await client.post(f"/models/{spec.name}/predict", json=body)).json()


def mean_of(spec: ModelSpec) -> float:
    """The mean of the example's codes, which the arithmetic answers from."""
    matrix = to_matrix(spec.row, [spec.row.model_validate(spec.example)])
    return float(matrix.mean())


async def test_a_binary_answer_is_this(client: httpx.AsyncClient) -> None:
    """The gate of (1, 1): m = 1, so one half; it has no sets and therefore no coverage."""
    answer = await predicted(client, MODELS["and_gate"])

    assert answer == {
        "model": "and_gate",
        "version": 1,
        "threshold": {
            "value": 0.5,
            "name": "more probable",
            "reason": "the more probable output is answered",
        },
        "base_rate": {"0": 0.851, "1": 0.149},
        "coverage": None,
        "predictions": [
            {
                "output": 1,
                "probability": 0.5,
                "applicability": {"outside": [], "distance_percentile": 50.0},
            }
        ],
    }


async def test_a_binary_answer_with_a_set_is_this(client: httpx.AsyncClient) -> None:
    """The patient's mean is above 4: a death is probable enough for its set, survival is not at 80 %."""
    death = pytest.approx(mean_of(SURVIVAL) / (1 + mean_of(SURVIVAL)))
    answer = await predicted(client, SURVIVAL, coverage=0.8)

    assert answer == {
        "model": "survival",
        "version": 1,
        "threshold": {
            "value": 0.149,
            "name": "prevalence",
            "reason": "70 of the 470 patients died: above it, a risk above the average patient's",
        },
        "base_rate": {"survival": 0.851, "death_within_one_year": 0.149},
        "coverage": 0.8,
        "predictions": [
            {
                "outcome": "death_within_one_year",
                "probability_of_death_within_one_year": death,
                "probability_of_survival": pytest.approx(1 - death.expected),
                "prediction_set": ["death_within_one_year"],
                "applicability": {
                    "outside": [],
                    "distance_percentile": pytest.approx(100 * death.expected),
                },
            }
        ],
    }


async def test_a_number_with_an_interval_is_this(client: httpx.AsyncClient) -> None:
    """Three standard deviations to either side at 95 %, but not below 0: a grade lies from 0 to 10."""
    mean = mean_of(QUALITY)
    spread = 0.5 + mean / (1 + mean)
    answer = await predicted(client, QUALITY, coverage=0.95)

    assert answer == {
        "model": "wine_quality",
        "version": 1,
        "threshold": None,
        "base_rate": None,
        "coverage": 0.95,
        "predictions": [
            {
                "quality": pytest.approx(mean),
                "median_quality": pytest.approx(mean + 0.125),
                "standard_deviation": pytest.approx(spread),
                "interval": {
                    "low": pytest.approx(mean - 3 * spread),
                    "high": 10.0,
                    "coverage": 0.95,
                },
                "applicability": {
                    "outside": [],
                    "distance_percentile": pytest.approx(100 * (spread - 0.5)),
                },
            }
        ],
    }


async def test_one_of_several_with_a_set_is_this(client: httpx.AsyncClient) -> None:
    """The share of the grade in front passes 0.2; the six others have 1/7 of what is left each."""
    mean = mean_of(GRADE)
    share = mean / (1 + mean)
    others = pytest.approx(1 / 7 / (1 + share))
    answer = await predicted(client, GRADE)
    prediction = answer["predictions"][0]
    grade = 3 + int(share * 6)

    assert (answer["threshold"], answer["coverage"]) == (None, 0.9)
    assert list(answer["base_rate"].items()) == [
        ("3", 0.0),
        ("4", 0.1),
        ("5", 0.3),
        ("6", 0.4),
        ("7", 0.2),
        ("8", 0.0),
        ("9", 0.0),
    ]
    assert prediction.keys() == {
        "grade",
        "probabilities",
        "mean_grade",
        "prediction_set",
        "applicability",
    }
    assert (prediction["grade"], prediction["prediction_set"]) == (grade, [grade])
    assert [prediction["probabilities"][str(one)] for one in range(3, 10) if one != grade] == [others] * 6


async def test_a_larger_coverage_never_has_a_smaller_set(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """What 95 % cannot rule out, 80 % cannot rule out either only if it is in the smaller set."""
    answers = [await predicted(client, spec, coverage=coverage) for coverage in COVERAGES]
    predictions = [answer["predictions"][0] for answer in answers]
    match spec.task:
        case Regression():
            widths = [one["interval"]["high"] - one["interval"]["low"] for one in predictions]
            assert widths == sorted(widths)
            assert widths[0] < widths[-1]
            assert [one["interval"]["coverage"] for one in predictions] == list(COVERAGES)
        case Binary(sets=None):
            assert all("prediction_set" not in one for one in predictions)
        case _:
            sets = [set(one["prediction_set"]) for one in predictions]
            assert sets[0] <= sets[1] <= sets[2]


@pytest.mark.parametrize("coverages", [(0.9, None, 0.8, 0.9, None), (0.9, 0.9), (0.8, 0.9), (None, None)])
def test_jobs_of_a_call_may_ask_for_different_coverages_or_none(coverages: tuple[float | None, ...]) -> None:
    """Each gets what it gets alone: its rows worded at its coverage, or what the graph answered them.

    Those of many rows come as a matrix, those of few as lists.
    """
    servable = MeanServable(GRADE)
    jobs = []
    for place, coverage in enumerate(coverages):
        cells: Cells = [[float(place + row)] * len(GRADE.features) for row in range(place + 1)]
        instances = Instances(cells)
        if place % 2:
            instances = instances.packed()
        if coverage is None:
            jobs.append(raw(servable, instances, Raw(lambda _, outputs: repr(outputs).encode())))
        else:
            jobs.append(predict(servable, instances, PredictParameters(coverage=coverage)))

    for job, columns in zip(jobs, together(servable, jobs), strict=True):
        (alone,) = together(servable, [job])
        assert job.answer(columns) == job.answer(alone)
        assert {len(values) for values in columns.values()} == {len(job.cells)}


@pytest.mark.parametrize("coverage", COVERAGES)
def test_few_rows_are_answered_as_many_are_to_the_last_byte(spec: ModelSpec, coverage: float) -> None:
    """Rows within and beyond what training saw, and at its ends; calls of one, of four, of five, of all."""
    servable = MeanServable(spec)
    low = np.asarray([servable.manifest.seen[feature.name].low for feature in spec.features])
    high = np.asarray([servable.manifest.seen[feature.name].high for feature in spec.features])
    shares = np.random.default_rng(7).uniform(0, 1.5, (60, len(spec.features)))
    matrix = np.float32([*(low + shares * shares[:, :1] * (high - low)), *[low] * 10, *[high] * 10])
    options = PredictParameters(coverage=coverage)

    def predictions(rows: Cells) -> list[bytes]:
        job = predict(servable, Instances(rows), options)
        return together(servable, [job])[0]["answers"]

    many = predictions(matrix)

    for rows in (1, 4, 5):
        assert [one for part in matrix.reshape(-1, rows, len(low)) for one in predictions(part)] == many
    assert len({from_json(one)["applicability"]["outside"] == [] for one in many}) > 1


def test_outputs_that_are_not_declared_are_not_answered() -> None:
    """However many rows they have: a graph may have more."""

    class More(MeanServable):
        def predict(self, matrix: Matrix) -> Outputs:
            return {**super().predict(matrix), "more": np.zeros(1, np.float32)}

    rows = np.ones((2, len(QUALITY.features)), np.float32)
    jobs = [predict(one(QUALITY), Instances(rows), PredictParameters()) for one in (More, MeanServable)]

    assert jobs[0].compute(rows) == jobs[1].compute(rows)


def test_a_distribution_reads_out_as_mean_interpolated_median_and_spread() -> None:
    """Shares 0.1, 0.4, 0.5 of 5, 6 and 7: the median is where half lies below, exactly between 6 and 7."""
    task = Regression((5, 6, 7))
    shares = np.asarray([[0.1, 0.4, 0.5], [0.0, 1.0, 0.0], [0.25, 0.5, 0.25]])
    outputs = task.read_out(QUALITY.target, shares)

    np.testing.assert_allclose(outputs["quality"], [6.4, 6, 6], atol=1e-6)
    np.testing.assert_allclose(outputs["median_quality"], [6.5, 6, 6], atol=1e-6)
    np.testing.assert_allclose(outputs["standard_deviation"], [0.44**0.5, 0, 0.5**0.5], atol=1e-6)


async def test_the_share_of_each_class_is_the_manifests_prior(
    client: httpx.AsyncClient, spec: ModelSpec
) -> None:
    """In the order and by the names of the classes; a number has none."""
    answer = await predicted(client, spec)
    prior = MeanServable(spec).manifest.prior

    if isinstance(spec.task, Regression):
        assert answer["base_rate"] is None
    else:
        assert list(answer["base_rate"].values()) == prior
        assert isinstance(spec.task, Multiclass) or len(prior) == 2


async def test_the_threshold_is_one_type_with_its_reason(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """The model's description and its answers say the same."""
    described = (await client.get(f"/models/{spec.name}")).json()["threshold"]

    assert described == (await predicted(client, spec))["threshold"]
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    assert list(schemas["Threshold"]["properties"]) == ["value", "name", "reason"]
    assert Threshold.__doc__ == schemas["Threshold"]["description"]
    assert "NamedThreshold" not in schemas


async def test_a_row_that_differs_in_range_is_marked_and_answered(client: httpx.AsyncClient) -> None:
    """Both halves of applicability stand in one place."""
    body = document(SURVIVAL, changed(SURVIVAL, age=110))
    answer = (await client.post("/models/survival/predict", json=body)).json()

    assert answer["predictions"][0]["applicability"].keys() == {"outside", "distance_percentile"}
