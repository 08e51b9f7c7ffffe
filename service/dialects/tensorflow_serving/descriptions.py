"""What TensorFlow Serving says of a model: the state of its versions, and its signature. Knows no HTTP."""

from typing import Any

from service.dialects.forms import TENSOR
from service.dialects.tensorflow_serving.bodies import SIGNATURE
from service.errors import UnknownVersion
from service.registry import Registry

# Of the canonical codes, the one of what cannot be served as it is.
REJECTED = "FAILED_PRECONDITION"


def status(registry: Registry, model: str, version: int | str | None) -> dict[str, Any]:
    """Each version that is served or was rejected, newest first. Raises UnknownModel or UnknownVersion."""
    versions, rejected = registry.versions(model), registry.rejected[model]
    if isinstance(version, str):
        version = registry.servable(model, version).version
    known = sorted(versions.keys() | rejected.keys(), reverse=True)
    listed = [one for one in known if version in (None, one)]
    if not listed:
        raise UnknownVersion(
            f"There is no such version. Versions are: {', '.join(map(str, known)) or 'none'}."
        )
    return {
        "model_version_status": [_state(one, None if one in versions else rejected[one]) for one in listed]
    }


def _state(version: int, why: str | None) -> dict[str, Any]:
    """The state of a version, which as an int64 is a string in JSON; `why` it was rejected."""
    return {
        "version": str(version),
        "state": "END" if why else "AVAILABLE",
        "status": {"error_code": REJECTED if why else "OK", "error_message": why or ""},
    }


def metadata(registry: Registry, model: str, version: int | str | None) -> dict[str, Any]:
    """The signature of a version. Raises UnknownModel, UnknownVersion or NotReady."""
    servable = registry.servable(model, version)
    spec = servable.spec
    signature = {
        "inputs": {TENSOR: _tensor(TENSOR, len(spec.features))},
        "outputs": {output.name: _tensor(output.name, output.width) for output in spec.outputs},
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    return {
        "model_spec": {"name": spec.name, "signature_name": "", "version": str(servable.version)},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
    }


def _tensor(name: str, width: int) -> dict[str, Any]:
    dims = [{"size": str(size), "name": ""} for size in (-1, width) if size]
    return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dims, "unknown_rank": False}, "name": f"{name}:0"}
