"""MLflow's scoring server: /invocations, /ping, /health and /version; the first two are SageMaker's as well.

https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally. Such a server has one model; which one
answers here is said by a header of the request, else by a setting, unless one alone is served.
"""

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope

from service import __version__, actions
from service.actions import Action
from service.dialects.dialect import Dialect
from service.dialects.forms import from_inputs, from_instances, named, one_of, parsed, refuse_options
from service.dialects.tensorflow_serving.bodies import predictions
from service.engine import Answer, Read
from service.errors import MalformedBody
from service.exchange import State, exchange
from service.inference import Raw
from service.instances import Asked, Instances
from service.judge import Judge
from service.openapi import CSV, JSON
from service.problems import Problem
from service.requests import headers_of, media_type
from service.routes import Shortcut, answering_head
from service.spec import ModelSpec
from service.table import read_csv
from service.tensors import from_columns

# What names the model.
HEADER = b"x-model"
ROWS = ("dataframe_split", "dataframe_records", "instances", "inputs")
# MLflow's own codes; of any other status the first.
CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "TEMPORARILY_UNAVAILABLE",
}
# What reads bodies for a judge, by the headers that came with them.
Reader = Callable[[Judge, Mapping[bytes, bytes]], Read]


class Failure(BaseModel):
    """What every error is."""

    error_code: str
    message: str = Field(description="what was wrong, where, what is allowed")


def routes(predicts: Mapping[str, Action]) -> APIRouter:
    """Every route of the dialect."""
    router = APIRouter(tags=["MLflow and SageMaker"])
    asked = _actions(predicts)

    async def ping(request: Request) -> Response:
        request.app.state.check_ready()
        return PlainTextResponse("\n")

    for path in ("/ping", "/health"):
        summary = "Whether every model is ready"
        router.add_api_route(
            path, ping, response_class=PlainTextResponse, responses=_errors(503), summary=summary
        )

    @router.get(
        "/version",
        response_class=PlainTextResponse,
        responses=_errors(429, 503),
        summary="The version of this service",
    )
    async def version() -> Response:
        return PlainTextResponse(__version__)

    @router.post(
        "/invocations",
        summary="The outputs of rows, of the model that the header X-Model or INVOCATIONS_MODEL names",
        response_model=dict[str, Any],
        responses=_errors(400, 404, 408, 413, 415, 429, 500, 503, 504),
        openapi_extra=_described([predict.judge.spec for predict in predicts.values()]),
    )
    async def invocations(request: Request) -> Response:
        answered = await invoke(asked, request.scope, request.receive, reader)
        return Response(answered.body, media_type=JSON)

    return answering_head(router)


def shortcuts(predicts: Mapping[str, Action]) -> dict[str, Shortcut]:
    """The path of invocations, whichever model they are for."""
    asked = _actions(predicts)

    return {
        "/invocations": Shortcut("/invocations", lambda scope, receive: invoke(asked, scope, receive, reader))
    }


def _actions(predicts: Mapping[str, Action]) -> dict[str, Action]:
    return {name: actions.raw(predict, "invocations") for name, predict in predicts.items()}


async def invoke(asked: Mapping[str, Action], scope: Scope, receive: Receive, reader: Reader) -> Answer:
    """Answer by the model that the request, or else the setting, names, or by the only one.

    Raises ServiceError.
    """
    state: State = scope["app"].state
    name = _named(headers_of(scope)) or state.settings.invocations_model or _only(asked)
    if name is None:
        raise MalformedBody(
            "Several models are served, and the request names none: send the header X-Model with one of"
            f" {', '.join(asked)}, or start the service with INVOCATIONS_MODEL."
        )
    state.registry.served(name)
    action = asked[name]
    return await exchange(action, scope, receive, None, partial(reader, action.judge))


def _named(headers: Mapping[bytes, bytes]) -> str | None:
    """The model that a request names."""
    found = headers.get(HEADER)
    return None if found is None else found.decode("latin-1").strip()


def _only(models: Collection[str]) -> str | None:
    """The model, if there is no other."""
    return next(iter(models)) if len(models) == 1 else None


def reader(judge: Judge, headers: Mapping[bytes, bytes]) -> Read:
    """What reads this request's media type. Raises UnsupportedMedia."""
    return partial(read_json if media_type(headers) == JSON else read_table, judge)


def read_table(judge: Judge, body: bytes) -> Asked:
    """The rows of a CSV body, as the native dialect reads it; ids are not answered. Raises RefusedBody."""
    instances, _ = read_csv(judge, body, {})
    return instances, Raw(predictions)


def read_json(judge: Judge, body: bytes) -> Asked:
    """The rows of a JSON body in one of the four forms. Raises RefusedBody or TooLarge."""
    document = parsed(judge, body, (*ROWS, "params"))
    key = one_of(document, ROWS)
    refuse_options(document, "params")
    readers: dict[str, Callable[[Judge, Any], Instances]] = {
        "dataframe_split": _from_split,
        "dataframe_records": partial(named, key="dataframe_records"),
        "instances": from_instances,
        "inputs": from_inputs,
    }
    return readers[key](judge, document[key]), Raw(predictions)


def _from_split(judge: Judge, frame: Any) -> Instances:
    """The rows of a frame as pandas writes it with orient="split"; its index means nothing."""
    if not isinstance(frame, dict) or not {"columns", "data"} <= frame.keys() <= {"columns", "data", "index"}:
        raise MalformedBody(
            '`dataframe_split` is no object {"columns": [...], "data": [[...], ...]}; send one.'
        )
    names, rows = frame["columns"], frame["data"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MalformedBody("`columns` is no list of names; give that of each feature.")
    if len(set(names)) < len(names):
        raise MalformedBody("Two of the `columns` bear the same name; keep one of them.")
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and len(row) == len(names) for row in rows
    ):
        raise MalformedBody("`data` is no list of rows with a value for each of the `columns`.")
    places = {name: place for place, name in enumerate(names)}
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())
    below = "#/dataframe_split"
    return from_columns(
        judge.spec, columns, lambda row, name: f"{below}/data/{row}/{places[name]}", f"{below}/columns",
        listed=True,
    )  # fmt: skip


def envelope(said: Problem) -> Response:
    """{"error_code", "message"}; what breaks the declaration is a bad request here."""
    status = 400 if said.status == 422 else said.status
    failure = {"error_code": CODES.get(status, CODES[400]), "message": said.text}
    return Response(to_json(failure), status, media_type=JSON)


def _errors(*codes: int) -> dict[int | str, dict[str, Any]]:
    # With `model` FastAPI would document them as text where the answer is one.
    content = {JSON: {"schema": {"$ref": f"#/components/schemas/{Failure.__name__}"}}}
    return {code: {"description": HTTPStatus(code).phrase, "content": content} for code in codes}


def _described(specs: list[ModelSpec]) -> dict[str, Any]:
    """The body, with examples of each model; and the header that names one."""
    rows = {
        f"{spec.name}, {form}": {"value": {form: value}}
        for spec in specs
        for form, value in _forms(spec.example).items()
    }
    tables = {
        spec.name: {"value": "\n".join([",".join(spec.example), ",".join(map(str, spec.example.values()))])}
        for spec in specs
    }
    return {
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": {"type": "object"}, "examples": rows},
                CSV: {"schema": {"type": "string"}, "examples": tables},
            },
        },
        "parameters": [
            {
                "name": "X-Model",
                "in": "header",
                "description": "the model that is to answer, else that of INVOCATIONS_MODEL",
                "schema": {"type": "string", "enum": [spec.name for spec in specs]},
            }
        ],
    }


def _forms(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row in each form that JSON may have."""
    return {
        "dataframe_split": {"columns": list(row), "data": [list(row.values())]},
        "dataframe_records": [dict(row)],
        "instances": [dict(row)],
        "inputs": {name: [value] for name, value in row.items()},
    }


DIALECT = Dialect(
    routes,
    paths=re.compile(r"/(invocations|ping|health|version)\n?"),
    envelope=envelope,
    schemas=(Failure,),
    shortcuts=shortcuts,
)
