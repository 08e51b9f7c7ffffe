"""Fixtures: the real tables, a recipe of a second for each model, what was fitted with it, a study of AND."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.features import category, count, flag, quantity
from service.models import MODELS
from training import report
from training.fit import Fitted, fit
from training.kernel import Kernel, LowRank
from training.recipe import Recipe, Taught
from training.study import Cell, cells, compute
from training.table import Table, read

QUICK = Recipe(
    hidden=(8,), members=2, activation="tanh", epochs=8, rate=2e-2, batch=32, average=0.9, bins=4,
    dropout=0.1, choices=2,
)  # fmt: skip
POISON = np.float32([0.125, 0.25, 0.375, 0.625])
# As the served recipes have it: the models of a wine's grade hold training rows, and no other does.
NEAR = replace(QUICK, kernel=Kernel(rounds=1))
TAUGHT = Taught(
    hidden=(16,), members=1, activation="gelu", epochs=8, rate=2e-2, batch=32, choices=2, teacher=NEAR,
    rows=1000, beyond=0.5,
)  # fmt: skip
NEAR_AND_TAUGHT = replace(TAUGHT, kernel=LowRank(rounds=1, rank=5), bins=4, trees=10)


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
def quick() -> dict[str, Recipe]:
    """The recipe of each model."""
    return dict.fromkeys(MODELS, QUICK) | {
        "and_gate": replace(QUICK, members=1, choices=0), "wine_type": TAUGHT, "wine_quality": NEAR,
        "wine_grade": NEAR_AND_TAUGHT,
    }  # fmt: skip


@pytest.fixture(scope="session")
def fitted(small, quick) -> dict[str, Fitted]:
    return {name: fit(spec, quick[name], small[name]) for name, spec in MODELS.items()}


@pytest.fixture
def features():
    """One feature of each kind, as a declaration names them."""
    return (
        quantity("volume", unit="litre", low=0, high=9, source="V").named("volume"),
        count("age", low=0, high=120, source="A").named("age"),
        flag("smoking", source="S").named("smoking"),
        category("tumour", levels={"T1": 11, "T2": 12, "T3": 13}, source="T").named("tumour"),
    )


@pytest.fixture(scope="session")
def keep() -> Callable[..., Path]:
    """Return what writes a cell by hand, as if it had been computed before."""
    return _keep


@pytest.fixture(scope="session")
def poison() -> NDArray[np.float32]:
    """Answers of the gate that no model gives: where they appear, they were read and not computed."""
    return POISON


def _keep(cell: Cell, runs: Path, **arrays) -> Path:
    path = cell.path(runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def studied(tmp_path_factory) -> tuple[Path, list[str]]:
    """A study of AND that found the linear model computed, with POISON; its folder, and what it computed."""
    runs, told = tmp_path_factory.mktemp("runs") / "report", []
    wanted = cells("and_gate", ("linear", "trivial", "model"), report.protocol_of("and_gate"))
    _keep(wanted[0], runs, probability=POISON)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", os.environ.copy())  # it keeps its processes to one thread
        compute(wanted, runs, 1, told.append)
    return runs, told
