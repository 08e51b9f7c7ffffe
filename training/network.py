"""The trained thing: a graph from raw rows to the declared outputs, and from rows to attributions.

Knows TensorFlow and the declaration; knows nothing of fitting or files. Everything between a row in its
units and an answer is in the graph: encoding, members, links and their mean.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from service.features import Matrix
from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Outputs, Regression
from training.layers import Encoding

# Gauss-Legendre nodes on [0, 1]. The AND gate's is the steepest path: 32 nodes miss 6e-4 of it, 64 miss 2e-7.
NODES = 64


class Network(tf.Module):  # type: ignore[misc]
    """An encoding and the members on it, with the signatures that the service calls.

    A regression's members answer in standard deviations of the target: `centre` and `spread` undo it.
    """

    def __init__(
        self, spec: ModelSpec, encoding: Encoding, core: keras.Model, centre: float = 0.0, spread: float = 1.0
    ) -> None:
        """Join the parts; `core` maps z [None, width] to [None, members, outputs], links not applied."""
        super().__init__(name=spec.name)
        self.spec = spec
        self.encoding = encoding
        self.core = core
        self.centre = tf.Variable(centre, False, name="centre", dtype=tf.float32)
        self.spread = tf.Variable(spread, False, name="spread", dtype=tf.float32)
        rows = tf.TensorSpec([None, len(spec.features)], tf.float32, name="x")
        # AutoGraph cannot read `match`, and there is nothing here for it to convert.
        self.serve = tf.function(self._serve, input_signature=[rows], autograph=False)
        self.explain = tf.function(self._explain, input_signature=[rows], autograph=False)

    @property
    def parameters(self) -> int:
        """The number of fitted weights, the encoding's statistics not counted."""
        return int(self.core.count_params())

    @property
    def signatures(self) -> dict[str, Any]:
        """The functions to save, by signature name."""
        return {"serving_default": self.serve, "explain": self.explain}

    def predict(self, matrix: Matrix) -> Outputs:
        """Return the named outputs for float32 rows (n, d) in declared order, units and codes."""
        return {name: values.numpy() for name, values in self._serve(tf.constant(matrix)).items()}

    def _serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._outputs(self.encoding(x))

    def _outputs(self, z: tf.Tensor) -> dict[str, tf.Tensor]:
        answers = self.core(z, training=False)
        match self.spec.task:
            case Binary(event=event, complement=complement):
                probability = tf.reduce_mean(tf.sigmoid(answers), axis=[1, 2])
                return {event: probability} | ({complement: 1 - probability} if complement else {})
            case Regression():
                target = self.centre + self.spread * tf.reduce_mean(answers, axis=[1, 2])
                return {self.spec.target.name: target}
            case Multiclass(classes=classes):
                shares = tf.reduce_mean(tf.nn.softmax(answers), axis=1)
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
