"""What /evaluate says beside its metrics: how sure the main one is, and whether the card says the same."""

from collections.abc import Mapping
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from mean_servable import MeanServable
from rows import document
from servers import ROOT, client_of
from service.app import create_app
from service.models import MODELS
from service.quality import Figure
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec

pytestmark = pytest.mark.anyio

DATA = ROOT / "training" / "data"
CSV = {"content-type": "text/csv"}
# 14 volumes in per cent, 8 that exceed the capacity (training/data/SOURCES.md).
ERRORS = 22


def patients() -> pd.DataFrame:
    """The published table, as it came: without a header."""
    return pd.read_csv(DATA / "thoracic_surgery_raw.csv", header=None, dtype=str)


def right_patients() -> pd.DataFrame:
    """Those whose volumes can be litres."""
    table = patients()
    capacity, volume = table[2].astype(float), table[3].astype(float)
    return table[(volume <= 8) & (volume <= capacity)]


def wines() -> pd.DataFrame:
    """Both published tables, with the colour that their names say."""
    tables = [
        pd.read_csv(DATA / f"winequality-{colour}.csv", sep=";", dtype=str).assign(red=red)
        for colour, red in (("red", "1"), ("white", "0"))
    ]
    return pd.concat(tables)


def gate() -> pd.DataFrame:
    return pd.DataFrame({"x1": [0, 0, 1, 1], "x2": [0, 1, 0, 1], "y": [0, 0, 0, 1]})


TABLES = {
    "and_gate": (gate, 4),
    "survival": (right_patients, 470 - ERRORS),
    "wine_type": (wines, 6497),
    "wine_quality": (wines, 6497),
    "wine_grade": (wines, 6497),
}


@pytest.mark.parametrize("header", [True, False])
async def test_the_published_table_of_every_model_is_measured(
    client: httpx.AsyncClient, spec: ModelSpec, header: bool
) -> None:
    """Uploaded as CSV, with its headings or without: every row counts, and the interval holds the value."""
    read, rows = TABLES[spec.name]
    table = read()
    if spec.name == "survival":
        table.columns = pd.Index([*spec.source_columns])
    text = table.to_csv(index=False, header=header)
    response = await client.post(f"/models/{spec.name}/evaluate", content=text, headers=CSV)
    answer = response.json()

    assert response.status_code == 200, answer
    assert answer["rows"] == rows
    compared = answer["comparison"]
    assert compared["metric"] == spec.task.main_metric
    assert compared["value"] == answer[spec.task.main_metric]
    assert compared["low"] <= compared["value"] <= compared["high"]
    assert compared["low"] < compared["high"]


async def test_the_raw_patients_are_refused_as_a_whole(client: httpx.AsyncClient) -> None:
    """22 documented errors break the declaration: nothing is measured on what is left without a word."""
    assert len(patients()) - len(right_patients()) == ERRORS
    text = patients().to_csv(index=False, header=False)
    response = await client.post("/models/survival/evaluate", content=text, headers=CSV)

    assert response.status_code == 422
    assert len(response.json()["errors"]) == ERRORS


async def evaluated(spec: ModelSpec, figures: Mapping[str, Figure], *rows: Any) -> dict[str, Any]:
    """The comparison on these rows with a card of these figures."""
    servable = MeanServable(spec)
    quality = servable.manifest.quality.model_copy(update={"metrics": dict(figures)})
    servable.manifest = servable.manifest.model_copy(update={"quality": quality})
    registry = Registry({spec.name: spec})
    registry.add(servable)
    async with client_of(create_app(Settings(), registry)) as client:
        body = document(spec, *rows, action="evaluate")
        return (await client.post(f"/models/{spec.name}/evaluate", json=body)).json()["comparison"]


GATE = MODELS["and_gate"]
# Answers 1/2, 1/3 and 0: with the target 1 log(2), log(3) and a large loss.
MIXED = [{"x1": 1, "x2": 1}, {"x1": 1, "x2": 0}]


async def test_a_comparison_is_this() -> None:
    """Two different rows are drawn as both, or one of them twice: the bounds are their two losses."""
    card = Figure(value=0.1, low=0.05, high=0.15)
    answer = await evaluated(GATE, {"log_loss": card}, *MIXED)

    assert answer == {
        "metric": "log_loss",
        "value": pytest.approx((np.log(2) + np.log(3)) / 2),
        "low": pytest.approx(np.log(2)),
        "high": pytest.approx(np.log(3)),
        "card": {"value": 0.1, "low": 0.05, "high": 0.15},
        "verdict": "worse",
    }


async def test_a_real_numbers_error_is_compared_in_its_unit() -> None:
    """RMSE: the bounds are roots of the mean squared errors' bounds."""
    spec = MODELS["wine_quality"]
    rows = [dict(spec.example) | {"alcohol": alcohol} for alcohol in (0, 25)]
    mean = MeanServable(spec).predict(
        np.asarray([[spec_code(spec, row, one) for one in row] for row in rows], np.float32)
    )["quality"]
    errors = np.sort(np.abs(mean - spec.example_target))
    card = Figure(value=100, low=99, high=101)

    answer = await evaluated(spec, {"rmse": card}, *rows)

    assert answer == {
        "metric": "rmse",
        "value": pytest.approx(float(np.sqrt((errors**2).mean()))),
        "low": pytest.approx(float(errors[0])),
        "high": pytest.approx(float(errors[1])),
        "card": {"value": 100, "low": 99, "high": 101},
        "verdict": "better",
    }


def spec_code(spec: ModelSpec, row: Mapping[str, Any], name: str) -> float:
    feature = next(feature for feature in spec.features if feature.name == name)
    return feature.code(row[name])


@pytest.mark.parametrize(
    ("figures", "rows", "card"),
    [
        ({}, MIXED, None),
        ({"log_loss": Figure(value=1)}, MIXED, {"value": 1, "low": None, "high": None}),
        ({"log_loss": Figure(value=1, low=0, high=2)}, MIXED[:1], {"value": 1, "low": 0, "high": 2}),
        ({"log_loss": Figure(value=1, low=0, high=2)}, MIXED[:1] * 9, {"value": 1, "low": 0, "high": 2}),
    ],
)
async def test_without_an_interval_there_is_no_verdict(
    figures: Mapping[str, Figure], rows: list[Any], card: object
) -> None:
    """A card without the figure, or without bounds; one row, or copies of one."""
    answer = await evaluated(GATE, figures, *rows)

    assert answer["verdict"] is None
    assert answer["card"] == card
    assert (answer["low"] is None) == (len({tuple(row.values()) for row in rows}) == 1)


async def test_a_hundred_thousand_rows_are_measured(client: httpx.AsyncClient) -> None:
    """As many as a request may hold, each different."""
    spec = MODELS["wine_type"]
    rows = [dict(spec.example) | {"residual_sugar": step / 1000} for step in range(100_000)]
    text = pd.DataFrame(rows).assign(type="red").to_csv(index=False)
    response = await client.post("/models/wine_type/evaluate", content=text, headers=CSV)

    compared = response.json()["comparison"]
    assert response.json()["rows"] == 100_000
    assert compared["low"] < compared["value"] < compared["high"]
