"""Which operations a SavedModel may hold: those that compute, and in its saver those that keep variables.

A graph is a program. TensorFlow's operations can also read and write files, call Python or never end; none of
those is needed for an answer. Knows the fields of SavedModel's protocol buffer, and no TensorFlow.
"""

from collections.abc import Iterator
from typing import Any

# What the exports of training/ are made of; each computes its outputs from its inputs and nothing else.
COMPUTING = frozenset(
    """
    AddN AddV2 ArgMax BatchMatMulV2 BroadcastGradientArgs BroadcastTo Cast ConcatOffset ConcatV2
    Const Cumsum DynamicStitch Equal Erfc Exp ExpandDims Fill FloorMod GatherV2 Greater GreaterEqual
    Identity IsNan Log MatMul Maximum Mean Minimum Mul Neg NoOp OneHot OnesLike Pack PartitionedCall
    Placeholder Pow Prod Range ReadVariableOp RealDiv Reciprocal Relu ReluGrad Reshape
    ResourceGather Rsqrt RsqrtGrad Select SelectV2 Shape ShapeN Sigmoid SigmoidGrad Slice Softmax
    Softplus Sqrt Square Squeeze StatefulPartitionedCall StridedSlice StridedSliceGrad Sub Sum Tanh
    TanhGrad Transpose Unpack UnsortedSegmentSum UpperBound ZerosLike
    """.split()  # noqa: SIM905
)
# What TensorFlow writes beside them: variables, and the functions that save and restore them.
KEEPING = frozenset(
    """
    AssignVariableOp DisableCopyOnRead MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename
    StaticRegexFullMatch StringJoin VarHandleOp VarIsInitializedOp
    """.split()  # noqa: SIM905
)


def foreign(saved: Any) -> list[str]:
    """One sentence for each operation of a parsed SavedModel that has no place there, [] if none.

    What can be called, be it by a signature or by the loader, only computes. Functions that keep variables
    are named by the graph's own nodes alone, and those TensorFlow 2 never runs.
    """
    if len(saved.meta_graphs) != 1 or not saved.meta_graphs[0].HasField("object_graph_def"):
        return ["saved_model.pb is not what TensorFlow 2 saves; export the model again"]
    graph = saved.meta_graphs[0]
    library = graph.graph_def.library.function
    operations = {function.signature.name: {node.op for node in function.node_def} for function in library}
    called = {*_objects(graph.object_graph_def)}
    called.update(name for function in library for name in _calls(function.node_def))
    used = {node.op for node in graph.graph_def.node}.union(*operations.values()) - COMPUTING - KEEPING
    kept = {op for name in called & operations.keys() for op in operations[name] & KEEPING}
    return [
        *(
            f"saved_model.pb has the operation {op}, which service/graph.py does not allow"
            for op in sorted(used)
        ),
        *(f"saved_model.pb has the operation {op} outside of its saver's functions" for op in sorted(kept)),
    ]


def _objects(objects: Any) -> Iterator[str]:
    """The functions that TensorFlow makes callable, or calls itself, when it loads the objects."""
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name


def _calls(nodes: Any) -> Iterator[str]:
    """The functions that nodes name in their attributes."""
    for node in nodes:
        for value in node.attr.values():
            yield value.func.name
            yield from (function.name for function in value.list.func)
