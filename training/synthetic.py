"""Synthetic rows: between the rows of a table and beyond them, for a teacher to answer.

Knows the vocabulary of features and scikit-learn; knows nothing of targets.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from service.features import Feature, Matrix

# Neighbours that a row is mixed with. Few leave gaps between groups of rows, many fill space that no row has.
NEIGHBOURS = 40


def synthetic(features: Sequence[Feature], matrix: Matrix, count: int, beyond: float, seed: int) -> Matrix:
    """Return `count` rows float32 (count, d), each mixed from a row of `matrix` and one of its nearest.

    Each quantity goes its own share of the way from the one to the other: 0 to 1, and in the part `beyond` of
    the rows -1 to 2, held within what is declared. What is not a quantity stays the row's own. Rows are
    neighbours in standardised units. (Between neighbours: SMOTE, Chawla et al. 2002, doi:10.1613/jair.953.)
    """
    generator = np.random.default_rng(seed)
    values = matrix.astype(np.float64)
    near = _nearest(values)
    own = generator.integers(len(values), size=count)
    other = near[own, generator.integers(near.shape[1], size=count)]
    share = generator.random((count, len(features)))
    outside = generator.random(count) < beyond
    share[outside] = 3 * share[outside] - 1
    share *= [feature.kind == "quantity" for feature in features]
    mixed = values[own] + share * (values[other] - values[own])
    low = [-np.inf if feature.low is None else feature.low for feature in features]
    high = [np.inf if feature.high is None else feature.high for feature in features]
    rows: Matrix = np.clip(mixed, low, high).astype(np.float32)
    return rows


def _nearest(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the places of each row's nearest others, (n, NEIGHBOURS), fewer where there are fewer."""
    deviations = values.std(axis=0)
    z = values / np.where(deviations > 0, deviations, 1)
    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(z) - 1)).fit(z)
    near: NDArray[np.int64] = search.kneighbors(return_distance=False)
    return near
