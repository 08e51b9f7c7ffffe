"""Fixtures: the real tables, a recipe of a second, and a network of each model fitted with it."""

from dataclasses import replace

import numpy as np
import pytest

from service.features import category, count, flag, quantity
from service.models import MODELS
from training.fit import Fitted, Recipe, fit
from training.table import Table, read

QUICK = Recipe(
    hidden=(8,), members=2, activation="tanh", epochs=8, rate=1e-2, batch=32, patience=8, bins=4, dropout=0.1
)


@pytest.fixture(scope="session")
def tables() -> dict[str, Table]:
    return {name: read(spec) for name, spec in MODELS.items()}


@pytest.fixture(scope="session")
def small(tables) -> dict[str, Table]:
    """Every table cut to 160 rows, spread over its whole length; the truth table whole."""
    return {
        name: table.take(np.unique(np.linspace(0, len(table) - 1, 160).astype(int)))
        for name, table in tables.items()
    }


@pytest.fixture(scope="session")
def quick() -> Recipe:
    return QUICK


@pytest.fixture(scope="session")
def fitted(small) -> dict[str, Fitted]:
    recipes = {
        name: QUICK if name != "and_gate" else replace(QUICK, members=1, patience=0) for name in MODELS
    }
    return {name: fit(spec, recipes[name], small[name]) for name, spec in MODELS.items()}


@pytest.fixture
def features():
    """One feature of each kind, as a declaration names them."""
    return (
        quantity("volume", unit="litre", low=0, high=9, source="V").named("volume"),
        count("age", low=0, high=120, source="A").named("age"),
        flag("smoking", source="S").named("smoking"),
        category("tumour", levels={"T1": 11, "T2": 12, "T3": 13}, source="T").named("tumour"),
    )
