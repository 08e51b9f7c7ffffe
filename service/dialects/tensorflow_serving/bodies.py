"""What TensorFlow Serving's requests hold, and how its answers word the graph's outputs. Knows no HTTP."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from service.dialects.forms import filled, from_inputs, from_instances, named, one_of, parsed
from service.errors import InvalidRows, MalformedBody, Violation
from service.inference import Raw
from service.instances import Asked
from service.judge import Judge, refusal
from service.registry import Servable
from service.spec import ModelSpec
from service.tasks import Binary, Outputs

SIGNATURE = "serving_default"
EXAMPLES = 'The body is not {"examples": [{feature: value, ...}, ...]}, `context` an object if there is one.'


def read_predict(judge: Judge, body: bytes) -> Asked:
    """The rows of a predict request, and how their outputs are worded. Raises what `forms` raises."""
    document = parsed(judge, body, ("instances", "inputs", "signature_name"))
    _check_signature(document)
    if one_of(document, ("instances", "inputs")) == "instances":
        return from_instances(judge, document["instances"]), Raw(predictions)
    return from_inputs(judge, document["inputs"]), Raw(outputs)


def read_examples(word: Callable[[Servable, Outputs], bytes], judge: Judge, body: bytes) -> Asked:
    """The rows of a classify or regress request: each example with what `context` says of all of them."""
    document = parsed(judge, body, ("examples", "context", "signature_name"))
    _check_signature(document)
    examples, context = document.get("examples"), document.get("context", {})
    if not (isinstance(examples, list) and examples and isinstance(context, dict)):
        raise MalformedBody(EXAMPLES)
    # Before there is a copy of the context for each example.
    filled(examples, "examples")
    if len(context) > len(judge.spec.features):
        raise MalformedBody(
            "`context` has more fields than the declaration; leave out those it does not have."
        )
    if not all(isinstance(one, dict) for one in examples):
        raise MalformedBody(EXAMPLES)
    if any(context.keys() & one.keys() for one in examples):
        raise MalformedBody("A feature stands both in `context` and in an example; give it in one of them.")
    try:
        return named(judge, [context | one for one in examples], "examples"), Raw(word)
    except InvalidRows as error:
        violations = _in_context(error.violations, context)
    raise InvalidRows(refusal(violations), violations)


def _in_context(violations: Iterable[Violation], context: Mapping[str, Any]) -> list[Violation]:
    """The same, but that what `context` is wrong in is told once, and there."""
    names = ((one, one.pointer.rpartition("/")[2]) for one in violations)
    told = (replace(one, pointer=f"#/context/{name}") if name in context else one for one, name in names)
    return list(dict.fromkeys(told))


def _check_signature(document: Mapping[str, Any]) -> None:
    if document.get("signature_name", SIGNATURE) not in (SIGNATURE, ""):
        raise MalformedBody(
            f"`signature_name` is not `{SIGNATURE}`, the only one here; POST /models/MODEL/explain explains."
        )


def predictions(servable: Servable, found: Outputs) -> bytes:
    """Row form: an object of the named outputs for each row."""
    columns = _columns(servable.spec, found)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return to_json({"predictions": rows})


def outputs(servable: Servable, found: Outputs) -> bytes:
    """Column form: a list of all rows' values for each named output."""
    return to_json({"outputs": _columns(servable.spec, found)})


def classes(servable: Servable, found: Outputs) -> bytes:
    """A list of [label, probability] for each row."""
    spec = servable.spec
    labels = list(map(str, spec.task.labels(spec.target)))
    rows = _shares(spec, found).tolist()
    return to_json({"results": [list(zip(labels, row, strict=True)) for row in rows]})


def values(servable: Servable, found: Outputs) -> bytes:
    """The number that each row is answered with."""
    return to_json({"results": found[servable.spec.target.name].tolist()})


def _columns(spec: ModelSpec, found: Outputs) -> dict[str, list[Any]]:
    return {output.name: found[output.name].tolist() for output in spec.outputs}


def _shares(spec: ModelSpec, found: Outputs) -> NDArray[np.float32]:
    """The probabilities of the classes, (n, classes), as the graph has them."""
    if not isinstance(spec.task, Binary):
        return found["probabilities"]
    event, complement = found[spec.task.event], spec.task.complement
    return np.stack([found[complement] if complement else 1 - event, event], axis=1)
