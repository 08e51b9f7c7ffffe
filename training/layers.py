"""The layers: the encoding of declared columns, and the members of an ensemble that stand on it.

Knows TensorFlow, Keras and the vocabulary of features; knows nothing of fitting or files. What is
learnt from the data (means, scales, edges of bins, the baseline row) is state of the graph, so it
travels in the SavedModel and no number is computed twice.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.stats import norm

from service.features import Feature, Matrix

# A level, or a flag, that fewer rows show gets no column: nothing can be learnt about it, and dividing by
# its deviation would put those rows far out. (Without the flags that 2, 2 and 8 of the 470 patients raise,
# survival's out-of-fold AUC rises by 0.005, over ten draws of folds.)
ROWS_FOR_A_LEVEL = 10
# Knots of a normal score, and how far out it goes: beyond 3 deviations the table has hardly a row.
KNOTS = 200
FURTHEST = 3.0


class Column(NamedTuple):
    """One encoded column: clip((v - shift) / scale, low, high), v the value, or whether it is `level`."""

    kind: Literal["plain", "bin"]
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
    With `scores`, every number also gets its normal score: the quantile that a normal variable has where
    the column has this one, so that distances are between ranks, not units.
    """

    def __init__(
        self, features: Sequence[Feature], matrix: Matrix, numbers: Collection[str] = (), bins: int = 0,
        scores: bool = False,
    ) -> None:  # fmt: skip
        """Learn from `matrix`, float32 (n, d); those in `numbers` are categories that their codes order."""
        super().__init__(name="encoding")
        columns: list[Column] = []
        for source, feature in enumerate(features):
            values = matrix[:, source].astype(np.float64)
            if feature.kind == "category" and feature.name not in numbers:
                columns += _levels(source, values)
                continue
            if feature.kind == "flag" and min(values.sum(), (1 - values).sum()) < ROWS_FOR_A_LEVEL:
                continue
            columns.append(_number(source, values))
            columns += _bins(source, values, bins) if feature.kind == "quantity" else []
        self.inputs = len(features)
        self.columns = tuple(columns)
        self.scores = Scores(features, matrix) if scores else None
        self.levels = [column for column in columns if not np.isnan(column.level)]
        self.shift, self.scale, self.low, self.high = (
            tf.Variable([getattr(column, name) for column in columns], False, name=name, dtype=tf.float32)
            for name in Column._fields[3:]
        )
        self.baseline = tf.Variable([_baseline(features, matrix)], False, name="baseline", dtype=tf.float32)

    @property
    def sources(self) -> list[int]:
        """The feature that each encoded column comes from."""
        return [column.source for column in self.columns] + (list(self.scores.sources) if self.scores else [])

    @property
    def width(self) -> int:
        """The number of encoded columns."""
        return len(self.sources)

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Encode x float32 [None, d] into z float32 [None, width]: columns as listed, then the scores."""
        z = tf.clip_by_value(self._scaled(x, range(len(self.columns))), self.low, self.high)
        return tf.concat([z, self.scores(x)], axis=1) if self.scores else z

    def unbounded(self, x: tf.Tensor) -> tf.Tensor:
        """The plain columns of x, [None, plain], not held within what training saw."""
        return self._scaled(x, self.places("plain"))

    def places(self, *kinds: str) -> list[int]:
        """The places in z of the columns of these kinds: `plain`, `bin`, `score`."""
        listed = [place for place, column in enumerate(self.columns) if column.kind in kinds]
        return listed + (list(range(len(self.columns), self.width)) if "score" in kinds else [])

    def per_feature(self, z: tf.Tensor) -> tf.Tensor:
        """Sum the encoded columns of each feature: [None, width] to [None, d]."""
        return tf.matmul(z, tf.one_hot(self.sources, self.inputs))

    def _scaled(self, x: tf.Tensor, places: Sequence[int]) -> tf.Tensor:
        """The columns at these places before they are held, [None, len(places)]."""
        value = tf.matmul(self.with_levels(x), self.copying(places))
        shift, scale = (tf.gather(statistic, places) for statistic in (self.shift, self.scale))
        return (value - shift) / scale

    def with_levels(self, x: tf.Tensor) -> tf.Tensor:
        """Put beside x whether each level is the row's, 0 or 1: [None, d + levels]."""
        if not self.levels:
            return x
        own = tf.gather(x, [column.source for column in self.levels], axis=1)
        is_level = tf.equal(own, tf.constant([column.level for column in self.levels], tf.float32))
        return tf.concat([x, tf.cast(is_level, tf.float32)], axis=1)

    def copying(self, places: Sequence[int]) -> NDArray[np.float32]:
        """Ones where a column is taken from `with_levels`, (d + levels, len(places)).

        A product with it copies numbers to the last bit, on a GPU with TF32 off, in a tenth of the time of
        `tf.gather`.
        """
        ones = np.zeros((self.inputs + len(self.levels), len(places)), np.float32)
        for place, column in enumerate(self.columns[one] for one in places):
            is_number = np.isnan(column.level)
            ones[column.source if is_number else self.inputs + self.levels.index(column), place] = 1
        return ones


class Scores(tf.Module):  # type: ignore[misc]
    """Normal scores of the quantities and counts: x [None, d] to [None, scored], within 3 deviations.

    Each is linear between KNOTS training quantiles; equal quantiles share the mean of their places.
    """

    def __init__(self, features: Sequence[Feature], matrix: Matrix) -> None:
        """Learn the knots from `matrix`, float32 (n, d)."""
        super().__init__(name="scores")
        self.sources = tuple(
            place for place, feature in enumerate(features) if feature.kind in ("quantity", "count")
        )
        knots = [_knots(matrix[:, source].astype(np.float64)) for source in self.sources]
        # Rows of one length: the last knot is repeated, which makes steps that hold no value.
        at, score = (np.stack([_padded(one[part]) for one in knots]) for part in (0, 1))
        width, height = np.diff(at), np.diff(score)
        slope = np.divide(height, width, out=np.zeros_like(width), where=width > 0)
        # Below the first knot and from the last one on it is flat.
        steps = [np.pad(at, [(0, 0), (1, 0)], "edge"), np.pad(score, [(0, 0), (1, 0)], "edge"),
                 np.pad(slope, [(0, 0), (1, 1)])]  # fmt: skip
        # Every step of one column after the other's: left end, the score there, slope.
        self.steps = tf.Variable(
            np.stack(steps, axis=-1).reshape(-1, 3), False, name="steps", dtype=tf.float32
        )
        self.knots = tf.Variable(at, False, name="knots", dtype=tf.float32)
        self.first = tf.constant(np.arange(len(knots))[:, None] * (KNOTS + 1), tf.int32)
        self.copying = np.eye(len(features), dtype=np.float32)[list(self.sources)]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Score x float32 [None, d]: [None, scored]."""
        values = tf.matmul(self.copying, x, transpose_b=True)  # (scored, n), to the last bit
        step = tf.raw_ops.UpperBound(sorted_inputs=self.knots, values=values, out_type=tf.int32) + self.first
        left, score, slope = tf.unstack(tf.gather(self.steps, step), axis=-1)
        return tf.transpose(score + (values - left) * slope)


def columns_of(z: tf.Tensor, places: Sequence[int]) -> tf.Tensor:
    """Return these columns of z, [None, len(places)], by slices: `tf.gather` copies number by number."""
    starts = [0, *(place for place, (one, other) in enumerate(pairwise(places), 1) if other != one + 1)]
    runs = [places[start:end] for start, end in pairwise([*starts, len(places)])]
    return tf.concat([z[:, run[0] : run[-1] + 1] for run in runs], axis=1)


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
    """Return `count` nets of one shape side by side: z [None, width] to [count, None, outputs].

    They share nothing but the batch: each is fitted as if it were alone. `bias` (outputs,) starts the last
    layer, which is linear. L2 weighs the kernels, not the biases. Members come first, because then every
    layer is one batched matrix product.
    """
    signal = inputs = keras.Input((width,), name="encoded")
    penalty = keras.regularizers.L2(l2) if l2 else None
    for number, units in enumerate(hidden, start=1):
        signal = MemberDense(count, units, activation, penalty, name=f"hidden_{number}")(signal)
        signal = keras.layers.Dropout(dropout, name=f"dropout_{number}")(signal) if dropout else signal
    answer = MemberDense(count, outputs, "linear", penalty, bias, name="answer")
    return keras.Model(inputs, answer(signal), name="members")


class MemberDense(keras.layers.Layer):  # type: ignore[misc]
    """`count` dense layers side by side: [None, i], or [count, None, i], to [count, None, units]."""

    def __init__(
        self, count: int, units: int, activation: str, penalty: keras.regularizers.Regularizer | None,
        bias: NDArray[np.float64] | None = None, *, name: str,
    ) -> None:  # fmt: skip
        """Start the bias at `bias` (units,), by default at 0."""
        super().__init__(name=name)
        self.shape = (count, units)
        self.activation = gelu if activation == "gelu" else keras.activations.get(activation)
        self.penalty = penalty
        self.start = np.zeros(units) if bias is None else bias

    def build(self, incoming: Sequence[int | None]) -> None:
        """Make the weights: Glorot's uniform of one member, whatever their number."""
        count, units = self.shape
        limit = (6 / ((incoming[-1] or 0) + units)) ** 0.5
        self.kernel = self.add_weight(
            (count, incoming[-1], units), keras.initializers.RandomUniform(-limit, limit),
            regularizer=self.penalty, name="kernel",
        )  # fmt: skip
        start = keras.initializers.Constant(np.tile(self.start, (count, 1, 1)))
        self.bias = self.add_weight((count, 1, units), start, name="bias")

    def call(self, signal: tf.Tensor) -> tf.Tensor:
        """Answer the members' signals."""
        return self.activation(tf.matmul(signal, self.kernel) + self.bias)

    def member(self, number: int, signal: tf.Tensor) -> tf.Tensor:
        """Answer the signal of one member alone: [None, i] to [None, units]."""
        # With `bias_add` TensorFlow makes one operation of product, bias and relu.
        return self.activation(tf.nn.bias_add(tf.matmul(signal, self.kernel[number]), self.bias[number, 0]))


def gelu(x: tf.Tensor) -> tf.Tensor:
    """Weigh x by a normal variable's probability to be below it (Hendrycks, Gimpel 2016, arXiv:1606.08415).

    By `erf`: by `erfc`, as TensorFlow's own, it takes twice the time and differs by 1e-6 at most.
    """
    return 0.5 * x * (1 + tf.math.erf(x * 0.5**0.5))


def _levels(source: int, values: NDArray[np.float64]) -> list[Column]:
    """Return a standardised column for each level that some rows have and some lack."""
    codes, rows = np.unique(values, return_counts=True)
    shares = {
        code: count / len(values)
        for code, count in zip(codes, rows, strict=True)
        if count >= ROWS_FOR_A_LEVEL
    }
    return [
        Column("plain", source, code, share, np.sqrt(share * (1 - share)), -np.inf, np.inf)
        for code, share in shares.items()
        if share < 1
    ]


def _number(source: int, values: NDArray[np.float64]) -> Column:
    shift, scale = values.mean(), values.std() or 1.0
    return Column(
        "plain", source, np.nan, shift, scale, (values.min() - shift) / scale, (values.max() - shift) / scale
    )


def _bins(source: int, values: NDArray[np.float64], bins: int) -> list[Column]:
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1))) if bins else np.empty(0)
    return [Column("bin", source, np.nan, low, high - low, 0, 1) for low, high in pairwise(edges)]


def _knots(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where the knots of a normal score stand, ascending, and the score at each."""
    places = np.linspace(0, 1, KNOTS)
    at, which = np.unique(np.quantile(values, places), return_inverse=True)
    mean_place = np.bincount(which, weights=places) / np.bincount(which)
    with np.errstate(divide="ignore"):
        return at, np.clip(norm.ppf(mean_place), -FURTHEST, FURTHEST)


def _padded(knots: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.pad(knots, (0, KNOTS - len(knots)), mode="edge")


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
