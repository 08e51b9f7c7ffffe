"""The trained thing: a graph from raw rows to the declared outputs, and from rows to attributions.

Knows TensorFlow and the declaration; knows nothing of fitting or files. Everything between a row in its
units and an answer is in the graph: encoding, learners, their blend, calibration, the reading of a
distribution as a number, and how far the row lies from the training rows.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from service.features import Matrix
from service.spec import DISTANCE, ModelSpec
from service.tasks import Binary, Multiclass, Outputs, Regression
from training.calibration import LEAST, Calibration
from training.distance import DistancePercentile
from training.kernel import KernelMachine
from training.layers import Encoding, MemberDense, columns_of

# Gauss-Legendre nodes on [0, 1]. A kernel machine turns sharply wherever the path passes a training row: of a
# grade, whose range is 6, 64 nodes leave up to 3.2e-3 unexplained (192 wines), 128 nodes 2.0e-3.
NODES = 128
# Units from which on members are served one after another: one plain product each takes half the time of a
# batched one of few rows. Of small nets, if several, the operations cost more than the products.
WIDE = 128
# A limit of every model with a kernel machine.
HOLDS_ROWS = "The graph holds rows of the table: who has the artifact has their values."
# Rows of one call in training: a kernel machine holds a distance to each of its centres for each.
ROWS = 1024


class Members(tf.Module):  # type: ignore[misc]
    """An ensemble of nets: encoded rows z [None, width] to a share for each class, [None, classes].

    The nets answer a logit for each class, or for two classes one: that of the second. Their shares are
    averaged, not their logits: where members disagree the ensemble is unsure.
    """

    def __init__(self, core: keras.Model, places: Sequence[int]) -> None:
        """Take `core`, [None, len(places)] to [members, None, logits], on these columns of z."""
        super().__init__(name="members")
        self.core = core
        self.places = list(places)

    @property
    def parameters(self) -> int:
        """The number of fitted weights."""
        return int(self.core.count_params())

    def __call__(self, z: tf.Tensor) -> tf.Tensor:
        """Answer the members' mean shares."""
        signal = columns_of(z, self.places)
        count = self._layers[0].shape[0]
        if count > 1 and max(layer.shape[1] for layer in self._layers) < WIDE:
            return tf.reduce_mean(shares_of(self.core(signal, training=False)), axis=0)
        # Of four members at once a call of 249 rows would be more than TensorFlow takes through one loop, and
        # its softmax rounds the last row of a loop otherwise.
        shares = [shares_of(self._member(number, signal)) for number in range(count)]
        return tf.add_n(shares) / len(shares)

    def _member(self, number: int, signal: tf.Tensor) -> tf.Tensor:
        """Answer the logits of one member."""
        for layer in self._layers:
            signal = layer.member(number, signal)
        return signal

    @property
    def _layers(self) -> list[MemberDense]:
        return [layer for layer in self.core.layers if isinstance(layer, MemberDense)]


class Neighbourhood(tf.Module):  # type: ignore[misc]
    """A kernel machine on some columns of z: [None, width] to a share for each class, [None, classes]."""

    def __init__(self, machine: KernelMachine, places: Sequence[int]) -> None:
        """Take the machine and its columns."""
        super().__init__(name="neighbourhood")
        self.machine = machine
        self.places = list(places)

    @property
    def parameters(self) -> int:
        """The number of fitted coefficients."""
        return self.machine.parameters

    def __call__(self, z: tf.Tensor) -> tf.Tensor:
        """Answer the machine's shares."""
        return self.machine(columns_of(z, self.places))


Learner = Members | Neighbourhood


def shares_of(logits: tf.Tensor) -> tf.Tensor:
    """The shares of classes, [..., classes], of logits; a single logit is the second of two classes."""
    if logits.shape[-1] == 1:
        return tf.concat([tf.sigmoid(-logits), tf.sigmoid(logits)], axis=-1)
    return tf.nn.softmax(logits)


class Network(tf.Module):  # type: ignore[misc]
    """An encoding, the learners on it, their blend and its calibration: the signatures that are served."""

    def __init__(
        self, spec: ModelSpec, encoding: Encoding, learners: Sequence[Learner], weights: Sequence[float],
        calibration: Calibration, distance: DistancePercentile,
    ) -> None:  # fmt: skip
        """Join the parts; `weights`, one for each learner, sum to 1."""
        super().__init__(name=spec.name)
        self.spec = spec
        self.encoding = encoding
        self.learners = list(learners)
        self.weights = tf.Variable(weights, False, name="weights", dtype=tf.float32)
        self.calibration = calibration
        self.distance = distance
        rows = tf.TensorSpec([None, len(spec.features)], tf.float32, name="x")
        # AutoGraph cannot read `match`, and there is nothing here for it to convert.
        self.serve = tf.function(self._serve, input_signature=[rows], autograph=False)
        self.explain = tf.function(self._explain, input_signature=[rows], autograph=False)

    @property
    def parameters(self) -> int:
        """The number of fitted weights, the statistics of encoding and distance not counted."""
        return sum(learner.parameters for learner in self.learners)

    @property
    def limits(self) -> list[str]:
        """What a card has to say of the graph, whatever table it was fitted to."""
        return [HOLDS_ROWS] if any(isinstance(one, Neighbourhood) for one in self.learners) else []

    @property
    def signatures(self) -> dict[str, Any]:
        """The functions to save, by signature name."""
        return {"serving_default": self.serve, "explain": self.explain}

    def shares(self, matrix: Matrix) -> NDArray[np.float32]:
        """Return the calibrated shares of the classes, (n, classes), for rows as `predict` takes them."""
        parts = [self._shares(self.encoding(tf.constant(part))).numpy() for part in _split(matrix)]
        return np.concatenate(parts)

    def predict(self, matrix: Matrix) -> Outputs:
        """Return the named outputs for float32 rows (n, d) in declared order, units and codes."""
        parts = [self.serve(tf.constant(part)) for part in _split(matrix)]
        return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}

    def _serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._outputs(self.encoding(x)) | {DISTANCE.name: self.distance(x)}

    def _shares(self, z: tf.Tensor) -> tf.Tensor:
        blended = tf.add_n([self.weights[place] * learner(z) for place, learner in enumerate(self.learners)])
        return self.calibration(blended)

    def _outputs(self, z: tf.Tensor) -> dict[str, tf.Tensor]:
        shares = self._shares(z)
        match self.spec.task:
            case Binary(event=event, complement=complement):
                other, one = tf.unstack(shares, axis=1)
                return {event: one} | ({complement: other} if complement else {})
            case Regression(values=values):
                names = [output.name for output in self.spec.task.outputs(self.spec.target)]
                return dict(zip(names, read_out(shares, values), strict=True))
            case Multiclass(classes=classes):
                mean = tf.linalg.matvec(shares, tf.constant(classes, tf.float32))
                return {"probabilities": shares, self.spec.explained: mean}

    def _explain(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365) in the encoded space.

        The path runs straight from the encoded baseline row, where a half-raised flag has a meaning that
        it lacks in codes; each feature gets the sum of its columns. Memory: NODES times a prediction's.
        """
        places, weights = np.polynomial.legendre.leggauss(NODES)
        start, end = self.encoding(self.encoding.baseline), self.encoding(x)
        along = tf.constant((places + 1)[:, None, None] / 2, tf.float32)
        path = tf.reshape(start + along * (end - start), [-1, self.encoding.width])  # (NODES x rows, width)
        with tf.GradientTape() as tape:
            tape.watch(path)
            answered = self._outputs(path)[self.spec.explained]
        slopes = tf.reshape(tape.gradient(answered, path), [NODES, -1, self.encoding.width])
        mean_slope = tf.tensordot(tf.constant(weights / 2, tf.float32), slopes, 1)
        return {
            "attributions": self.encoding.per_feature((end - start) * mean_slope),
            "baseline": tf.identity(self.encoding.baseline),
            "baseline_prediction": self._outputs(start)[self.spec.explained],
            "prediction": self._outputs(end)[self.spec.explained],
        }


def read_out(shares: tf.Tensor, values: Sequence[int]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mean, interpolated median and standard deviation of distributions over whole `values`, [None] each.

    What `tasks.Regression.read_out` answers, in the graph.
    """
    whole = tf.constant(values, tf.float32)
    mean = tf.matmul(shares, whole[:, None])
    spread = tf.sqrt(tf.reduce_sum(shares * (whole - mean) ** 2, axis=1))
    # The part of each value's share that lies below the middle of the distribution.
    part = tf.clip_by_value(
        (0.5 - tf.cumsum(shares, axis=1, exclusive=True)) / tf.maximum(shares, LEAST), 0, 1
    )
    return mean[:, 0], values[0] - 0.5 + tf.reduce_sum(part, axis=1), spread


def _split(matrix: Matrix) -> list[Matrix]:
    return [matrix[start : start + ROWS] for start in range(0, len(matrix), ROWS)]
