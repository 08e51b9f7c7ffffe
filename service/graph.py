"""Which operations a SavedModel may hold: those that compute, and in its saver those that keep variables.

A graph is a program. TensorFlow's operations can also read and write files, call Python or never end; none of
those is needed for an answer. Knows the fields of SavedModel's protocol buffer, and no TensorFlow.
"""

from collections.abc import Iterable, Iterator
from typing import Any

# What the exports of training/ are and were made of; each computes its outputs from its inputs, nothing else.
COMPUTING = frozenset(
    """
    AddN AddV2 ArgMax BatchMatMulV2 BiasAdd BiasAddGrad BroadcastGradientArgs BroadcastTo Cast
    ConcatOffset ConcatV2 Const Cumsum DynamicStitch Equal Erf Erfc Exp ExpandDims Fill FloorMod
    GatherV2 Greater GreaterEqual Identity InvertPermutation IsNan Log MatMul Maximum Mean Minimum
    Mul Neg NoOp OneHot OnesLike Pack PadV2 PartitionedCall Placeholder Pow Prod Range ReadVariableOp
    RealDiv Reciprocal Relu ReluGrad Reshape ResourceGather Rsqrt RsqrtGrad Select SelectV2 Shape
    ShapeN Sigmoid SigmoidGrad Slice Softmax Softplus Sqrt Square Squeeze StatefulPartitionedCall
    StridedSlice StridedSliceGrad Sub Sum Tanh TanhGrad Transpose Unpack UnsortedSegmentSum
    UpperBound ZerosLike
    """.split()  # noqa: SIM905
)
# What TensorFlow writes beside them: variables, and the functions that save and restore them.
KEEPING = frozenset(
    """
    AssignVariableOp DisableCopyOnRead MergeV2Checkpoints RestoreV2 SaveV2 ShardedFilename
    StaticRegexFullMatch StringJoin VarHandleOp VarIsInitializedOp
    """.split()  # noqa: SIM905
)
# What TensorFlow says of a function that it saves. Others choose which function runs in the place of which.
SAID = frozenset({"_construction_context", "_input_shapes"})


def foreign(saved: Any) -> list[str]:
    """One sentence for each operation of a parsed SavedModel that has no place there, [] if none.

    Functions only compute. The two that keep variables are named by the saver's nodes alone, which
    TensorFlow 2 never runs, and by nothing that can be called, be it by a signature or by the loader.
    """
    if len(saved.meta_graphs) != 1 or not saved.meta_graphs[0].HasField("object_graph_def"):
        return ["saved_model.pb is not what TensorFlow 2 saves; export the model again"]
    graph = saved.meta_graphs[0]
    library = graph.graph_def.library.function
    savers = {*_savers(graph)} - {*_objects(graph.object_graph_def)}
    savers.difference_update(name for function in library for name in _calls(function.node_def))
    used = {node.op for node in graph.graph_def.node} - COMPUTING - KEEPING
    kept, said = set(), set()
    for function in library:
        operations = {node.op for node in function.node_def} - COMPUTING
        used |= operations - KEEPING
        kept |= operations & KEEPING if function.signature.name not in savers else set()
        said |= function.attr.keys() - SAID
    return [
        *(
            f"saved_model.pb has the operation {op}, which service/graph.py does not allow"
            for op in sorted(used)
        ),
        *(f"saved_model.pb has the operation {op} outside of its saver's functions" for op in sorted(kept)),
        *(
            f"saved_model.pb has a function with the attribute {name}, which service/graph.py does not allow"
            for name in sorted(said)
        ),
    ]


def _savers(graph: Any) -> Iterator[str]:
    """The functions that save and restore variables, where TensorFlow 1 would look for them."""
    named = {graph.saver_def.save_tensor_name.partition(":")[0], graph.saver_def.restore_op_name}
    yield from _calls(node for node in graph.graph_def.node if node.name in named)


def _objects(objects: Any) -> Iterator[str]:
    """The functions that TensorFlow makes callable, or calls itself, when it loads the objects."""
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name


def _calls(nodes: Iterable[Any]) -> Iterator[str]:
    """The functions that nodes name in their attributes."""
    for node in nodes:
        for value in node.attr.values():
            yield value.func.name
            yield from (function.name for function in value.list.func)
