"""How sure a median of ratios is."""

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000


def interval(ratios: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of the median, by bootstrap."""
    drawn = np.random.default_rng(0).choice(ratios, (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(high)
