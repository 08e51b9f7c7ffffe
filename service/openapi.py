"""What FastAPI cannot derive of the OpenAPI document: bodies that routes read themselves, and problems.

Knows the document's shape (OpenAPI 3.1); knows no HTTP library.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.judge import Judge

JSON, CSV = "application/json", "text/csv"
PROBLEM = "#/components/schemas/Problem"


def described(judge: Judge) -> dict[str, Any]:
    """The parts of an operation that describe its request: the body, and for CSV the query."""
    return {"requestBody": _body(judge), "parameters": _query(judge)}


def complete(document: dict[str, Any], requests: Sequence[type[BaseModel]], problems: str) -> None:
    """Define the request types that operations refer to; give problems, not a dialect's, their media type."""
    template = "#/components/schemas/{model}"
    _, extra = models_json_schema([(kind, "validation") for kind in requests], ref_template=template)
    document["components"]["schemas"] |= extra["$defs"]
    for path in document["paths"].values():
        for operation in path.values():
            _name_problems(operation["responses"], problems)
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)


def lock(
    document: dict[str, Any], opened: Collection[str], refusals: Mapping[str, str], problems: str
) -> None:
    """Say that every path but those `opened` needs a key, and with which statuses one is refused."""
    described = "or as the header X-API-Key"
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": described}
    }
    native = {problems: {"schema": {"$ref": PROBLEM}}}
    for path in document["paths"].keys() - set(opened):
        for operation in document["paths"][path].values():
            operation["security"] = [{"key": []}]
            # A dialect words these as it words its others.
            worded = [one["content"] for code, one in operation["responses"].items() if code >= "400"]
            for code, description in refusals.items():
                content = worded[0] if worded else native
                operation["responses"][code] = {"description": description, "content": content}


def example(judge: Judge) -> dict[str, Any]:
    """A body of one row that the action answers."""
    spec = judge.spec
    document: dict[str, Any] = {"instances": [dict(spec.example)]}
    if judge.labelled:
        document["targets"] = [spec.example_target]
    if _required(judge):
        document["parameters"] = {"feature": spec.features[-1].name}
    return document


def _body(judge: Judge) -> dict[str, Any]:
    spec = judge.spec
    header, line = list(spec.example), [str(value) for value in spec.example.values()]
    if judge.labelled:
        header, line = [*header, spec.target.name], [*line, str(spec.example_target)]
    reference = {"$ref": f"#/components/schemas/{judge.request.__name__}"}
    return {
        "required": True,
        "content": {
            JSON: {"schema": reference, "example": example(judge)},
            CSV: {"schema": {"type": "string"}, "example": f"{','.join(header)}\n{','.join(line)}\n"},
        },
    }


def _query(judge: Judge) -> list[dict[str, Any]]:
    """The options as query parameters. None is required and none has a default: JSON bodies have no query.

    A form that fills in defaults would otherwise send them beside every JSON body.
    """
    properties = judge.parameters.model_json_schema().get("properties", {})
    return [_option(name, schema, name in _required(judge)) for name, schema in properties.items()]


def _option(name: str, schema: Mapping[str, Any], required: bool) -> dict[str, Any]:
    default = "needed" if required else f"{schema['default']} if absent"
    return {
        "name": name,
        "in": "query",
        "description": f"{schema['description']}. Only beside a CSV body, and then {default};"
        " a JSON body has it in `parameters`",
        "schema": {key: value for key, value in schema.items() if key not in ("default", "description")},
    }


def _required(judge: Judge) -> list[str]:
    return [name for name, field in judge.parameters.model_fields.items() if field.is_required()]


def _name_problems(responses: dict[str, Any], media_type: str) -> None:
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]  # FastAPI's own, for a version in the path: ours is a 404
    for response in responses.values():
        if PROBLEM in str(response.get("content")):
            response["content"] = {media_type: response["content"][JSON]}
