"""Requests of the Open Inference Protocol that ask the gate, right or with something changed."""

import json
from typing import Any

import numpy as np

INFER = "/v2/models/and_gate/infer"
LENGTH = "inference-header-content-length"
# Both as (2, 2).
ROWS = [[1, 0], [1, 1]]
BYTES = np.array(ROWS, "<f4").tobytes()


def gate(**changes: Any) -> dict[str, Any]:
    """The gate's two rows as the matrix, with some fields changed."""
    return {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": ROWS} | changes


def column(name: str, *values: int) -> dict[str, Any]:
    """One feature of rows."""
    return {"name": name, "shape": [len(values)], "datatype": "INT8", "data": list(values)}


def binary(*inputs: dict[str, Any], tail: bytes = BYTES, length: int | None = None, **fields: Any) -> Any:
    """A request whose tensors stand behind its JSON."""
    head = json.dumps({"inputs": list(inputs)} | fields).encode()
    headers = {LENGTH: str(len(head) if length is None else length)}
    return {"content": head + tail, "headers": headers}


def raw(size: int = len(BYTES), **changes: Any) -> dict[str, Any]:
    """The same as `gate`, in so many bytes."""
    described = gate(parameters={"binary_data_size": size}) | changes
    return {name: value for name, value in described.items() if name != "data" or "data" in changes}
