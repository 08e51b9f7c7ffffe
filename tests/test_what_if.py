"""POST .../what-if: one feature of each row over what training saw of it."""

from itertools import pairwise
from typing import Any

import httpx
import numpy as np
import pytest

from mean_servable import MeanServable
from rows import changed, document, refused
from servers import client_of
from service.app import create_app
from service.applicability import Seen
from service.features import Feature, Matrix
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec
from service.sweep import sweep, swept_values
from service.tasks import Outputs

pytestmark = pytest.mark.anyio

SURVIVAL, GATE = MODELS["survival"], MODELS["and_gate"]
COUNT, QUANTITY = SURVIVAL.features[-1], SURVIVAL.features[1]
LEVELS, FLAG = SURVIVAL.features[0], SURVIVAL.features[4]


def seen(low: float, high: float, levels: list[int] | None = None) -> Seen:
    return Seen(low=low, high=high, quantiles=[], levels=levels)


async def curves(client: httpx.AsyncClient, spec: ModelSpec, *rows: Any, **options: Any) -> dict[str, Any]:
    body = document(spec, *rows, action="what-if", **options)
    response = await client.post(f"/models/{spec.name}/what-if", json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    ("feature", "found", "points", "expected"),
    [
        (QUANTITY, seen(1, 3), 5, [1, 1.5, 2, 2.5, 3]),
        (COUNT, seen(20, 23), 25, [20, 21, 22, 23]),
        (COUNT, seen(20, 80), 4, [20, 40, 60, 80]),
        (COUNT, seen(20, 30), 3, [20, 25, 30]),
        (LEVELS, seen(1, 8, [8, 1, 3]), 2, [1, 3, 8]),
        (FLAG, seen(0, 0), 2, [0, 1]),
        (QUANTITY, seen(2, 2), 25, [2]),
    ],
)
def test_a_feature_is_swept_over_what_training_saw(
    feature: Feature, found: Seen, points: int, expected: list[float]
) -> None:
    """Numbers in even steps with both ends, whole ones whole; every level seen; true and false."""
    assert swept_values(feature, found, points).tolist() == expected


async def test_each_point_is_what_predict_answers_for_the_changed_row(
    client: httpx.AsyncClient, spec: ModelSpec
) -> None:
    """For every feature of every model: nothing but that feature changes, and nothing else is said."""
    for feature in spec.features:
        answer = await curves(client, spec, spec.example, feature=feature.name, points=4, coverage=0.8)
        (curve,) = answer["curves"]
        rows = [changed(spec, **{feature.name: point["value"]}) for point in curve["points"]]
        body = document(spec, *rows, coverage=0.8)
        predicted = (await client.post(f"/models/{spec.name}/predict", json=body)).json()

        assert answer | {"predictions": 0} == predicted | {
            "predictions": 0,
            "feature": feature.name,
            "unit": feature.unit,
            "curves": answer["curves"],
        }
        expected = [
            {"value": row[feature.name]} | one
            for row, one in zip(rows, predicted["predictions"], strict=True)
        ]
        assert curve == {"value": spec.example[feature.name], "points": expected}


async def test_values_ascend_and_hold_the_rows_own_once(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """Whether the own value is one of the steps or lies between two."""
    for feature in spec.features:
        answer = await curves(client, spec, spec.example, feature=feature.name, points=3)
        values = [point["value"] for point in answer["curves"][0]["points"]]
        codes = [feature.code(value) for value in values]

        assert all(low < high for low, high in pairwise(codes))
        assert values.count(spec.example[feature.name]) == 1
        if feature.kind == "count":
            assert all(isinstance(value, int) for value in values)


async def test_a_value_that_training_never_saw_is_a_point_and_marked() -> None:
    """The own value belongs to the curve even outside what the feature is swept over."""
    servable = MeanServable(SURVIVAL)
    narrow = servable.manifest.seen | {"age": seen(40, 60), "diagnosis": seen(1, 3, [1, 3])}
    servable.manifest = servable.manifest.model_copy(update={"seen": narrow})
    registry = Registry(MODELS)
    registry.add(servable)
    row = changed(SURVIVAL, age=85, diagnosis="DGN7")
    async with client_of(create_app(Settings(), registry)) as client:
        ages = await curves(client, SURVIVAL, row, feature="age", points=2)
        diagnoses = await curves(client, SURVIVAL, row, feature="diagnosis")

    points = ages["curves"][0]["points"]
    assert [point["value"] for point in points] == [40, 60, 85]
    assert [point["applicability"]["outside"] for point in points] == [
        ["diagnosis"],
        ["diagnosis"],
        ["diagnosis", "age"],
    ]
    assert [point["value"] for point in diagnoses["curves"][0]["points"]] == ["DGN1", "DGN3", "DGN7"]


@pytest.mark.parametrize(
    ("feature", "kept"),
    [
        ("forced_expiratory_volume_1s", lambda value, row: value <= row["forced_vital_capacity"]),
        ("forced_vital_capacity", lambda value, row: value >= row["forced_expiratory_volume_1s"]),
    ],
)
async def test_points_at_which_a_part_exceeds_its_whole_are_left_out(
    client: httpx.AsyncClient, feature: str, kept: Any
) -> None:
    """Whether the part is varied or the whole: such a row would be refused by predict."""
    answer = await curves(client, SURVIVAL, SURVIVAL.example, feature=feature, points=20)
    values = [point["value"] for point in answer["curves"][0]["points"]]

    assert 2 <= len(values) < 20
    assert all(kept(value, SURVIVAL.example) for value in values)


async def test_each_instance_has_its_own_curve_in_order(client: httpx.AsyncClient) -> None:
    """Curves of different lengths belong to their own rows, as they would alone."""
    rows = [
        changed(SURVIVAL, forced_vital_capacity=capacity, forced_expiratory_volume_1s=volume)
        for capacity, volume in ((2.88, 2.16), (10, 0.2), (1, 0.9), (2.88, 2.16))
    ]
    options = {"feature": "forced_expiratory_volume_1s", "points": 9}
    together = (await curves(client, SURVIVAL, *rows, **options))["curves"]
    alone = [(await curves(client, SURVIVAL, row, **options))["curves"][0] for row in rows]

    assert together == alone
    assert len({len(curve["points"]) for curve in together}) == 3


async def test_csv_rows_get_their_curves_by_id(client: httpx.AsyncClient) -> None:
    """As everywhere, who sends numbered rows gets them back numbered."""
    text = "293,1,3.8,2.8,0,0,0,0,0,0,12,0,0,0,1,0,62\n8,2,3.19,2.5,1,0,0,0,1,0,11,0,0,1,1,0,66\n"
    answer = await client.post(
        "/models/survival/what-if",
        content=text,
        params={"feature": "age", "points": 3},
        headers={"content-type": "text/csv"},
    )

    assert [(one["id"], one["value"]) for one in answer.json()["curves"]] == [(293, 62), (8, 66)]
    assert [point["value"] for point in answer.json()["curves"][0]["points"]] == [18, 62, 64, 110]


async def test_too_many_points_are_refused_before_any_is_computed() -> None:
    """Instances times points: 501 x 200 is too much, 500 x 200 is not, and flags have two points."""

    class Counting(MeanServable):
        asked = 0

        def predict(self, matrix: Matrix) -> Outputs:
            self.asked += len(matrix)
            return super().predict(matrix)

    servable = Counting(MODELS["wine_quality"])
    registry = Registry(MODELS)
    registry.add(servable)
    registry.add(MeanServable(SURVIVAL))
    example = MODELS["wine_quality"].example
    async with client_of(create_app(Settings(), registry)) as client:
        url = "/models/wine_quality/what-if"
        options = {"feature": "alcohol", "points": 200}
        most = await client.post(url, json={"instances": [example] * 500, "parameters": options})
        computed = servable.asked
        more = await client.post(url, json={"instances": [example] * 501, "parameters": options})
        flags = {"instances": [SURVIVAL.example] * 501, "parameters": {"feature": "pain", "points": 200}}

        assert most.status_code == 200
        assert "fewer" in refused(more, 413)["detail"]
        assert servable.asked == computed
        assert (await client.post("/models/survival/what-if", json=flags)).status_code == 200


def test_a_sweep_changes_nothing_but_its_column() -> None:
    """Neither the other columns nor the matrix that it was given."""
    matrix = np.asarray([[0, 1], [1, 0]], np.float32)
    before = matrix.copy()
    found = sweep(GATE, GATE.features[1], seen(0, 1), matrix, 2)

    assert found.matrix.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert found.values.tolist() == [0, 1, 0, 1]
    assert found.sizes == [2, 2]
    assert (matrix == before).all()
