"""The layers of the nets: the encoding of declared columns, and the members that stand on it.

Knows TensorFlow, Keras and the vocabulary of features; knows nothing of fitting or files. What is
learnt from the data (means, scales, edges of bins, the baseline row) is state of the graph, so it
travels in the SavedModel and no number is computed twice.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from service.features import Feature, Matrix

# A level that fewer rows show gets no column of its own: nothing can be learnt about it, and the weight
# of a column that is almost never 1 would stay what the initialiser made it.
ROWS_FOR_A_LEVEL = 10
# What centred 0/1 columns are divided by (Gelman 2008, doi:10.1002/sim.3107). The standard deviation of
# a flag that 2 of 470 rows raise is 0.07: dividing by it would put those rows 15 deviations out.
FLAG_SCALE = 0.5


class Column(NamedTuple):
    """One encoded column: clip((v - shift) / scale, low, high), v the value, or whether it is `level`."""

    source: int
    level: float
    shift: float
    scale: float
    low: float
    high: float


class Encoding(tf.Module):  # type: ignore[misc]
    """Declared columns to encoded ones: x [None, d], in units and codes, to z [None, width].

    Numbers are standardised and held within what training saw: beyond its range the graph answers as at
    its edge, rather than extrapolate. A category becomes one column for each common level. With `bins`,
    a quantity also gets that many piecewise-linear columns (0 below a bin, 1 above, linear within:
    Gorishniy et al. 2022, arXiv:2203.05556, section 3.2), so that a net can bend at training quantiles.
    """

    def __init__(
        self, features: Sequence[Feature], matrix: Matrix, numbers: Collection[str] = (), bins: int = 0
    ) -> None:
        """Learn from `matrix`, float32 (n, d); those in `numbers` are categories that their codes order."""
        super().__init__(name="encoding")
        columns: list[Column] = []
        for source, feature in enumerate(features):
            values = matrix[:, source].astype(np.float64)
            if feature.kind == "category" and feature.name not in numbers:
                columns += _levels(source, values)
                continue
            columns.append(_number(source, values, FLAG_SCALE if feature.kind == "flag" else None))
            columns += _bins(source, values, bins) if feature.kind == "quantity" else []
        self.inputs, self.width = len(features), len(columns)
        self.source = tf.constant([column.source for column in columns], tf.int32)
        self.level, self.shift, self.scale, self.low, self.high = (
            tf.Variable([getattr(column, name) for column in columns], False, name=name, dtype=tf.float32)
            for name in Column._fields[1:]
        )
        self.baseline = tf.Variable([_baseline(features, matrix)], False, name="baseline", dtype=tf.float32)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Encode x float32 [None, d] into z float32 [None, width]."""
        value = tf.gather(x, self.source, axis=1)
        is_level = tf.cast(tf.equal(value, self.level), tf.float32)
        value = tf.where(tf.math.is_nan(self.level), value, is_level)
        return tf.clip_by_value((value - self.shift) / self.scale, self.low, self.high)

    def per_feature(self, z: tf.Tensor) -> tf.Tensor:
        """Sum the encoded columns of each feature: [None, width] to [None, d]."""
        return tf.matmul(z, tf.one_hot(self.source, self.inputs))


def members(
    width: int,
    outputs: int,
    bias: NDArray[np.float64],
    *,
    count: int = 1,
    hidden: Sequence[int] = (),
    activation: str = "tanh",
    dropout: float = 0.0,
    l2: float = 0.0,
) -> keras.Model:
    """Return `count` nets of one shape side by side: z [None, width] to [None, count, outputs].

    They share nothing but the batch: each is fitted as if it were alone, and their mean is the answer.
    `bias` (outputs,) starts the last layer, which is linear. L2 weighs the kernels, not the biases.
    """

    def dense(incoming: int, units: int, members_apart: bool, **more: object) -> keras.layers.Layer:
        # Glorot's uniform of one member; Keras would count the other members into its fan.
        limit = (6 / (incoming + units)) ** 0.5
        return keras.layers.EinsumDense(
            f"{'bmi' if members_apart else 'bi'},mio->bmo", (count, units), bias_axes="mo",
            kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
            kernel_regularizer=keras.regularizers.L2(l2) if l2 else None, **more,
        )  # fmt: skip

    signal = inputs = keras.Input((width,), name="encoded")
    sizes = [width, *hidden]
    for number, (incoming, units) in enumerate(pairwise(sizes), start=1):
        signal = dense(incoming, units, number > 1, activation=activation, name=f"hidden_{number}")(signal)
        signal = keras.layers.Dropout(dropout, name=f"dropout_{number}")(signal) if dropout else signal
    prior = keras.initializers.Constant(np.tile(bias, (count, 1)))
    answer = dense(sizes[-1], outputs, bool(hidden), bias_initializer=prior, name="answer")
    return keras.Model(inputs, answer(signal), name="members")


def _levels(source: int, values: NDArray[np.float64]) -> list[Column]:
    counts = zip(*np.unique(values, return_counts=True), strict=True)
    return [
        Column(source, code, rows / len(values), FLAG_SCALE, -np.inf, np.inf)
        for code, rows in counts
        if rows >= ROWS_FOR_A_LEVEL
    ]


def _number(source: int, values: NDArray[np.float64], scale: float | None) -> Column:
    shift, scale = values.mean(), scale or values.std() or 1.0
    return Column(
        source, np.nan, shift, scale, (values.min() - shift) / scale, (values.max() - shift) / scale
    )


def _bins(source: int, values: NDArray[np.float64], bins: int) -> list[Column]:
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1))) if bins else np.empty(0)
    return [Column(source, np.nan, low, high - low, 0, 1) for low, high in pairwise(edges)]


def _baseline(features: Sequence[Feature], matrix: Matrix) -> list[float]:
    """Return the row that attributions start from: medians, and the most frequent level or flag."""
    row = []
    for feature, values in zip(features, matrix.T.astype(np.float64), strict=True):
        codes, rows = np.unique(values, return_counts=True)
        nominal = feature.kind in ("category", "flag")
        # The lower median of a count is a count.
        middle = np.median(values) if feature.kind == "quantity" else np.quantile(values, 0.5, method="lower")
        row.append(float(codes[rows.argmax()] if nominal else middle))
    return row
