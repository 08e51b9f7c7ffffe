"""How far a row lies from the training rows: a Mahalanobis distance, said as a percentile.

Knows TensorFlow, scikit-learn and the encoding. The graph holds a mean, a covariance and a table of
percentiles, and no row: it may stand in a model of patients.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import GroupKFold

from training.layers import Encoding
from training.table import Table

# The table of percentiles is read off rows that the mean and the covariance had not seen: those that had
# lie nearer to them, the more so the fewer rows there are.
PARTS = 10
PERCENTILES = np.linspace(0, 1, 101)


class DistancePercentile(tf.Module):  # type: ignore[misc]
    """Per cent of the training rows that lie nearer to their centre: x [None, d] to [None], 0 to 100.

    Distances are taken on the plain columns of the encoding, not held within what training saw. The
    covariance is shrunk (Ledoit and Wolf 2004, doi:10.1016/S0047-259X(03)00096-4), as flags that two
    rows raise would otherwise stand above everything.
    """

    def __init__(self, encoding: Encoding, table: Table) -> None:
        """Learn the centre, the covariance and the percentiles of the table's rows."""
        super().__init__(name="distance")
        rows = encoding.unbounded(tf.constant(table.matrix)).numpy().astype(np.float64)
        distances = _held_out(rows, table.groups)
        centre, whitening = _whitening(rows)
        # In float32, in which the graph holds them: equal edges would be a step of no width.
        edges = np.unique(np.quantile(distances, PERCENTILES, method="lower").astype(np.float32))
        steps = _steps(edges, [100 * np.mean(distances < edge) for edge in edges])
        self.encoding = encoding
        self.centre, self.whitening, self.left, self.steps = (
            tf.Variable(values, False, name=name, dtype=tf.float32)
            for name, values in (
                *zip(("centre", "whitening"), _unscaled(encoding, centre, whitening), strict=True),
                ("left", steps[None, :, 0]), ("steps", steps[[0, *range(len(steps))]]),
            )
        )  # fmt: skip

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Answer the percentile of each row."""
        apart = tf.matmul(self.encoding.with_levels(x) - self.centre, self.whitening)
        distance = tf.reshape(tf.sqrt(tf.reduce_sum(apart * apart, axis=1)), [1, -1])
        # Of a step its place in `left` and one more: the first step of `steps` stands there twice.
        step = tf.raw_ops.UpperBound(sorted_inputs=self.left, values=distance, out_type=tf.int32)
        left, share, slope = tf.unstack(tf.gather(self.steps, step), axis=-1)
        return tf.reshape(share + (distance - left) * slope, [-1])


def _steps(edges: NDArray[np.float32], shares: Sequence[float]) -> NDArray[np.float32]:
    """Return the table of percentiles as steps, (n, 3): where each begins, the share there, and its slope.

    It is flat before the first edge and from the last one on; 1e-4 of itself farther out, which is more than
    rounding, all training rows are nearer.
    """
    slopes = np.diff(shares) / np.diff(edges)
    left = [0, *edges, edges[-1] * np.float32(1.0001)]
    return np.stack([left, [shares[0], *shares, 100], [0, *slopes, 0, 0]], axis=1).astype(np.float32)


def _unscaled(
    encoding: Encoding, centre: NDArray[np.float64], whitening: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centre and whitening of plain columns as those of what the columns are encoded from."""
    places = encoding.places("plain")
    shift, scale = (one.numpy()[places].astype(np.float64) for one in (encoding.shift, encoding.scale))
    copying = encoding.copying(places)
    return copying @ (shift + centre * scale), copying @ (whitening / scale[:, None])


def _held_out(rows: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each row's distance from the centre of the parts that it is not in, (n,)."""
    if len(np.unique(groups)) < 2 * PARTS:
        return _distance(rows, *_whitening(rows))
    distances = np.empty(len(rows))
    for others, part in GroupKFold(PARTS).split(rows, groups=groups):
        distances[part] = _distance(rows[part], *_whitening(rows[others]))
    return distances


def _whitening(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the centre (p,) and the matrix (p, p) after which distances are Euclidean."""
    fitted = LedoitWolf().fit(rows)
    return fitted.location_, np.linalg.cholesky(fitted.precision_)


def _distance(
    rows: NDArray[np.float64], centre: NDArray[np.float64], whitening: NDArray[np.float64]
) -> NDArray[np.float64]:
    distance: NDArray[np.float64] = np.linalg.norm((rows - centre) @ whitening, axis=1)
    return distance
