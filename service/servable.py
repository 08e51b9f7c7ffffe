"""One loaded version of a model: a SavedModel in, numpy arrays out.

The only module of the service that imports TensorFlow. Knows the artifact's layout (design: the
same folder that TensorFlow Serving loads); knows nothing of HTTP.
"""

import ctypes
import os
import re
from collections.abc import Collection, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

# TensorFlow greets on stderr with its build options unless told not to before the import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# oneDNN rounds differently from one CPU to the next, and in its products the rows that are left over of six
# otherwise than the others: with TensorFlow's own a distance does not hang on who else asks.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ["TENSORFLOW_USE_CUSTOM_CONTRACTION_KERNEL"] = "false"
# Keras is for training, but TensorFlow imports it by itself, which takes two seconds and 165 MB.
# A legacy Keras it would import too, but it lets go where that is not installed, which is here.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf.config_pb2 import CallableOptions
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel
from tensorflow.python.eager import context
from tensorflow.python.framework import convert_to_constants

from service.errors import ArtifactRejected, DeviceUnavailable, ModelFailure
from service.features import Matrix
from service.files import within
from service.graph import foreign
from service.manifest import TENSORFLOWS, Manifest, differences, digest, document, verified
from service.spec import ModelSpec
from service.tasks import Outputs

PREDICT = "serving_default"
EXPLAIN = "explain"
# glibc's mallopt: a larger buffer than this is mapped, faulted in page by page and given back at every use,
# which takes most of the time of a kernel machine's graph. 32 MiB is the most that glibc allows.
M_MMAP_THRESHOLD, MAPPED_FROM = -3, 32 * 2**20
# Freed memory at the top of the heap goes back to the system from here on.
M_TRIM_THRESHOLD, KEPT = -1, 64 * 2**20
# One heap for all threads: they take turns at the graph, and with a heap each they would push one another's
# buffers out of the processor's cache: four clients, 6,497 wine grades each, got an eighth fewer answers.
M_ARENA_MAX, HEAPS = -8, 1
# Rows that TensorFlow computes alike, whatever their number: a product's last ones, if they are fewer, go
# through another loop than the others, and so do the last numbers of a column.
ALIKE = 8
# Numbers that are looked at one by one: by numpy they would take longer.
FEW = 32


def keep_buffers() -> None:
    """Let glibc use freed buffers again, in any thread; elsewhere do nothing.

    To be called before the first operation.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, MAPPED_FROM)
        mallopt(M_TRIM_THRESHOLD, KEPT)
        mallopt(M_ARENA_MAX, HEAPS)


def choose_device(choice: Literal["cpu", "gpu", "auto"]) -> str:
    """Make TensorFlow compute on the chosen device and return its name, such as `cpu` or `gpu`.

    To be called before the first operation: memory growth and visibility are fixed by then. Raises
    DeviceUnavailable for `gpu` where TensorFlow sees none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if choice == "gpu" and not gpus:
        raise DeviceUnavailable(
            "DEVICE=gpu, but TensorFlow sees no GPU; install the extra `gpu` and the NVIDIA driver,"
            " or set DEVICE=cpu or DEVICE=auto"
        )
    if choice == "cpu" or not gpus:
        if gpus:
            tf.config.set_visible_devices([], "GPU")
        return "cpu"
    # It would cut the numbers of a product to ten bits; the graphs count on float32's 24.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    for gpu in gpus:
        # TensorFlow would otherwise take the whole memory of the GPU for itself.
        tf.config.experimental.set_memory_growth(gpu, True)
    return "gpu"


class SavedModelServable:
    """A version that has proven itself: declaration, digests, signature and golden rows all agree."""

    def __init__(self, folder: Path, spec: ModelSpec, trusted: Collection[str] = ()) -> None:
        """Load and prove root/<model>/<version>; only what `trusted` lists, unless that is empty.

        Raises ArtifactRejected with every difference that was found, OSError if a file cannot be read.
        """
        self.spec = spec
        self.version = int(folder.name)
        within(folder.parent.parent, folder)
        described = document(folder)
        self.digest = digest(described)
        if trusted and self.digest not in trusted:
            raise ArtifactRejected(
                f"the digest of its manifest.json, {self.digest}, is not among the trusted ones"
            )
        self.manifest = Manifest.parse(described)
        _reject(differences(self.manifest, spec))
        _reject([] if self.manifest.version == self.version else ["the manifest is of another version"])
        # Before TensorFlow opens a file: a SavedModel is a program.
        contents = verified(folder, self.manifest.files)
        _reject(foreign(SavedModel.FromString(contents["saved_model.pb"])))
        self.card = contents["card.md"].decode()
        drawings = (drawing.file for drawing in self.manifest.provenance.drawings)
        self.drawings: Mapping[str, bytes] = {file: contents[file] for file in drawings}
        loaded = load(contents)
        self._predict = self._signature(loaded, PREDICT)
        self._explain = self._signature(loaded, EXPLAIN)
        _reject(self._golden_differences())
        _reject(self._explain_differences())

    def predict(self, matrix: Matrix) -> Outputs:
        """Return the named outputs for float32 rows (n, d). Raises ModelFailure if any is not finite.

        Computed by one thread of a CPU, a row's outputs are the same to the last bit whatever rows stand
        beside it, and alike to 1e-4 where there is none: filled up, a lone row would take up to twice as
        long.
        """
        rows = len(matrix)
        missing = -rows % ALIKE if rows > 1 else 0
        if not missing:
            return self._call(self._predict, matrix)
        filled = np.concatenate([matrix, np.repeat(matrix[-1:], missing, axis=0)])
        return {name: values[:rows] for name, values in self._call(self._predict, filled).items()}

    def explain(self, matrix: Matrix) -> Outputs:
        """Return `attributions` (n, d), `prediction` (n,), `baseline` (1, d), `baseline_prediction` (1,)."""
        return self._call(self._explain, matrix)

    def _call(self, signature: "Signature", matrix: Matrix) -> Outputs:
        try:
            outputs = signature(matrix)
        except tf.errors.OpError as error:
            raise ModelFailure(
                f"{self.spec.name}/{self.version}: {type(error).__name__} in the graph"
            ) from None
        for values in outputs.values():
            if not _finite(values):
                raise ModelFailure(f"{self.spec.name}/{self.version}: the graph answered a non-finite number")
        return outputs

    def _signature(self, loaded: Any, name: str) -> "Signature":
        if name not in loaded.signatures:
            raise ArtifactRejected(f"the SavedModel has no signature `{name}`; export the model again")
        signature = loaded.signatures[name]
        _, inputs = signature.structured_input_signature
        expected = {"x": ((None, len(self.spec.features)), tf.float32)}
        found = {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in inputs.items()}
        _reject([] if found == expected else [f"signature `{name}` takes {found}, expected {expected}"])
        if name == PREDICT:
            declared = {output.name for output in self.spec.outputs}
            _reject([f"output `{lost}` is absent" for lost in declared - set(signature.structured_outputs)])
        return Signature(signature)

    def _golden_differences(self) -> list[str]:
        golden = self.manifest.golden
        outputs = self.predict(np.asarray(golden.inputs, np.float32))
        deviations = {
            name: float(np.abs(outputs[name] - np.asarray(expected)).max())
            for name, expected in golden.outputs.items()
        }
        return [
            f"golden rows: `{name}` deviates by {deviation:.2g}, allowed is {golden.tolerance:g}"
            for name, deviation in deviations.items()
            if not deviation <= golden.tolerance
        ]

    def _explain_differences(self) -> list[str]:
        # Two show names and shapes; each costs as much as some hundred predictions.
        golden = np.asarray(self.manifest.golden.inputs[:2], np.float32)
        outputs = self.explain(golden)
        rows, width = golden.shape
        expected = {
            "attributions": (rows, width),
            "prediction": (rows,),
            "baseline": (1, width),
            "baseline_prediction": (1,),
        }
        found = {name: values.shape for name, values in outputs.items()}
        if found != expected:
            return [f"signature `{EXPLAIN}` answers {found}, expected {expected}"]
        return [
            f"the baseline of `{EXPLAIN}` has a level of `{feature.name}` that is not declared"
            for feature, code in zip(self.spec.features, outputs["baseline"][0].tolist(), strict=True)
            if feature.levels and code not in feature.levels.values()
        ]


class Signature:
    """A signature of a SavedModel as the callable of a session, its variables made constants.

    A session's callable runs the graph in the thread that calls it and goes through no eager context: one
    row takes half to two thirds of the time of the same graph called as an operation, which is far less than
    a call by keyword, as TensorFlow shows it (benchmarks/NOTES.md). The session frees what it holds when this
    is gone.
    """

    def __init__(self, function: Any) -> None:
        """Take `function` of one argument, x; the model that it comes from need not outlive this."""
        frozen, graph = _frozen(function), tf.Graph()
        with graph.as_default():
            tf.import_graph_def(frozen, name="")
        # Of the same devices and memory as everything else here; below 0 means the caller's thread.
        config = tf.compat.v1.ConfigProto.FromString(context.context().config.SerializeToString())
        config.inter_op_parallelism_threads = -1
        config.allow_soft_placement = True
        # One order of the operations, fixed beforehand: it knows no loops, and neither does `graph`. A GPU's
        # operations end later than they return.
        if not tf.config.get_visible_devices("GPU"):
            config.experimental.executor_type = "SINGLE_THREADED_EXECUTOR"
        outputs = [tensor.name for tensor in function.outputs]
        options = CallableOptions(feed=[function.inputs[0].name], fetch=outputs)
        session = tf.compat.v1.Session(graph=graph, config=config)
        self._call = session._make_callable_from_options(options)
        # The graph's outputs stand in the order of their sorted names.
        self._names = sorted(function.structured_outputs)

    def __call__(self, matrix: Matrix) -> Outputs:
        """Return the named outputs for float32 rows (n, d)."""
        return dict(zip(self._names, self._call(matrix), strict=True))


def _frozen(function: Any) -> Any:
    """The graph of a function with its variables as constants, a GraphDef.

    What `convert_variables_to_constants_v2` does first; then it would make a function of it once more, which
    takes it nine tenths of its time.
    """
    variables = convert_to_constants._FunctionConverterDataInEager(
        function, lower_control_flow=True, aggressive_inlining=False
    )
    return convert_to_constants._replace_variables_by_constants(variables)[0]


def load(contents: Mapping[str, bytes]) -> Any:
    """Load a SavedModel from TensorFlow's files in memory: nobody can change there what was verified."""
    folder = f"ram://{uuid4().hex}"
    paths = {f"{folder}/{name}": name for name in contents if re.fullmatch(TENSORFLOWS, name)}
    try:
        for path, name in paths.items():
            with tf.io.gfile.GFile(path, "wb") as file:
                file.write(contents[name])
        return tf.saved_model.load(folder)
    finally:
        for path in filter(tf.io.gfile.exists, paths):
            tf.io.gfile.remove(path)


def _finite(values: NDArray[np.float32]) -> bool:
    """Whether all of them are; a list of few numbers takes a quarter to four fifths of numpy's time."""
    if values.size <= FEW:
        return all(map(isfinite, values.ravel().tolist()))
    return bool(np.isfinite(values).all())


def _reject(reasons: list[str]) -> None:
    if reasons:
        raise ArtifactRejected("; ".join(reasons))
