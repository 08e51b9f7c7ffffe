"""The options of a request: a typed model for each action, and the sentences that refuse a wrong one.

JSON bodies carry them in `parameters`, CSV bodies in the query string; both are judged by these types.
Knows pydantic; knows nothing of HTTP.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetPydanticSchema, create_model
from pydantic_core import core_schema

from service.conformal import COVERAGES
from service.errors import MalformedBody, Violation
from service.features import number
from service.spec import ModelSpec

DEFAULT_COVERAGE = 0.9
MAX_POINTS = 200


def _one_of(values: Sequence[Any]) -> GetPydanticSchema:
    """What `Literal` would be, which type checkers know neither of real numbers nor of computed ones."""
    return GetPydanticSchema(lambda _, __: core_schema.literal_schema(list(values)))


Coverage = Annotated[float, _one_of(COVERAGES)]


def _whole(value: Any) -> Any:
    """25.0 is 25, as in JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Parameters(BaseModel):
    """No options are defined for this action yet."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    @property
    def rows_each(self) -> int:
        """About how many rows of the graph an instance takes."""
        return 1


class PredictParameters(Parameters):
    """What a prediction is to say."""

    coverage: Coverage = Field(
        default=DEFAULT_COVERAGE,
        description="the share of new rows whose true value the prediction set, or interval, shall hold",
    )


class WhatIfParameters(PredictParameters):
    """What is to be varied."""

    feature: str
    points: Annotated[int, Field(strict=True, ge=2, le=MAX_POINTS), BeforeValidator(_whole)] = Field(
        default=25,
        description="how many values of a number to try; of levels and flags, every one is tried",
    )

    @property
    def rows_each(self) -> int:
        """Each value that is tried is a row, and so is the instance's own."""
        return self.points + 1


def what_if_parameters(spec: ModelSpec) -> type[WhatIfParameters]:
    """The options of a what-if of this model: `feature` is one of its own."""
    names = Annotated[str, _one_of([feature.name for feature in spec.features])]
    return create_model(
        f"{spec.type_name}WhatIfParameters",
        __base__=WhatIfParameters,
        __doc__=WhatIfParameters.__doc__,
        feature=(names, Field(description="the feature to vary over what training saw of it")),
    )


def from_query(pairs: Sequence[tuple[str, str]]) -> dict[str, float | str]:
    """The options of a query string, as a JSON body would carry them. Raises MalformedBody."""
    options = {name: number(text) for name, text in pairs}
    if len(options) < len(pairs):
        raise MalformedBody("An option stands in the query more than once; give each once.")
    return options


def option_violations(kind: type[Parameters], faults: Sequence[Mapping[str, Any]]) -> Iterator[Violation]:
    """Yield a violation for each option that pydantic refused; undefined ones are not named."""
    allowed = {name: _allowed(schema) for name, schema in kind.model_json_schema()["properties"].items()}
    for fault in faults:
        name = str(fault["loc"][1])
        code, wrong = (
            ("missing", "is missing") if fault["type"] == "missing" else ("not_allowed", "is not allowed")
        )
        yield Violation(f"#/parameters/{name}", f"{name} {wrong}; give {allowed[name]}.", code)


def undefined_option(kind: type[Parameters]) -> Violation:
    """The violation of options that the action does not have. It says those that it has."""
    names = ", ".join(kind.model_fields)
    detail = f"allowed: {names}" if names else "this action has none, leave it out"
    return Violation("#/parameters", f"There is an option that is not defined; {detail}.", "unknown_field")


def _allowed(schema: Mapping[str, Any]) -> str:
    """The allowed values as a noun phrase."""
    if "minimum" in schema:
        return f"a whole number from {schema['minimum']} to {schema['maximum']}"
    values = schema.get("enum", [schema.get("const")])
    return "one of " + ", ".join(json.dumps(value) for value in values)
