"""TensorFlow Serving's REST API, version 1: /v1/models/{model}, its metadata, :predict, :classify, :regress.

https://www.tensorflow.org/tfx/serving/api_rest. What differs, and why, stands in docs/dialects.md.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.responses import Response
from starlette.types import Receive, Scope

from service import actions
from service.actions import Action
from service.dialects.dialect import Dialect
from service.dialects.tensorflow_serving.bodies import classes, read_examples, read_predict, values
from service.dialects.tensorflow_serving.descriptions import metadata, status
from service.engine import Answer
from service.errors import MalformedBody
from service.exchange import exchange
from service.instances import Asked
from service.judge import Judge
from service.openapi import JSON
from service.problems import Problem
from service.registry import Registry
from service.routes import Label, Shortcut, answering_head
from service.spec import ModelSpec
from service.tasks import Binary, Multiclass, Regression, Task


class Refusal(BaseModel):
    """What every error is."""

    error: str = Field(description="what was wrong, where, what is allowed")


MEANINGS = {
    400: "no documented form, or a value breaks the declaration",
    404: "no such model, version or label",
    408: "a head or a body that did not come in time",
    413: "too many bytes or rows",
    415: "neither plain nor gzip",
    429: "too many rows are waiting, or requests come too fast",
    500: "a bug, with an id and nothing else",
    503: "no version of this model is ready, or the service is leaving",
    504: "no answer in the time that the request had",
}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Refusal, "description": meaning} for code, meaning in MEANINGS.items()
}
# Those of a request without a body.
READ = (400, 404, 429, 500, 503)
Description = Callable[[Registry, str, int | str | None], dict[str, Any]]
# Answers for a model, and for the version that answers, a version, or a label.
Answering = Callable[[Request, str, int | str | None], Awaitable[Response]]
# Digits, of which leading zeros mean nothing.
Number = Annotated[str, Path(description="a version, as the status lists them")]
EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


@dataclass(frozen=True)
class Verb:
    """One thing that can be asked of a model, the tasks that answer it, and how a body is read and shown."""

    name: str
    summary: str
    read: Callable[[Judge, bytes], Asked]
    tasks: tuple[type[Task], ...]
    # By the name of their form.
    examples: Callable[[ModelSpec], dict[str, dict[str, Any]]]


def routes(predicts: Mapping[str, Action]) -> APIRouter:
    """Every route of the dialect; what else begins with /v1/models is a malformed request, as it is there."""
    router = APIRouter(tags=["TensorFlow Serving"])
    _add_descriptions(router)
    for verb in VERBS:
        _add_verb(router, verb, predicts)
    answering_head(router)

    @router.api_route("/v1/models{rest:path}", methods=EVERY_METHOD, include_in_schema=False)
    async def malformed() -> Response:
        raise _malformed()

    return router


def _malformed() -> MalformedBody:
    return MalformedBody(
        "Malformed request: ask GET /v1/models/MODEL or GET /v1/models/MODEL/metadata, or POST to"
        " /v1/models/MODEL:predict, :classify or :regress; /versions/N or /labels/L may follow MODEL."
    )


def _add_descriptions(router: APIRouter) -> None:
    for path, describe, summary in (
        ("", status, "Which versions are served, and why others are not"),
        ("/metadata", metadata, "The signature: its inputs and outputs"),
    ):
        _add(router, "GET", path, partial(_described, describe), summary)


def _add_verb(router: APIRouter, verb: Verb, predicts: Mapping[str, Action]) -> None:
    asked = _actions(verb, predicts)
    answering = [predict.judge.spec for predict in predicts.values() if _answers(verb, predict.judge.spec)]
    examples = {
        f"{spec.name}, {form}": {"value": body}
        for spec in answering
        for form, body in verb.examples(spec).items()
    }
    body = {"required": True, "content": {JSON: {"schema": {"type": "object"}, "examples": examples}}}
    extra = {"requestBody": body}
    _add(router, "POST", f":{verb.name}", partial(_asked, verb, asked), verb.summary, openapi_extra=extra)


def _actions(verb: Verb, predicts: Mapping[str, Action]) -> dict[str, Action]:
    return {name: actions.raw(predict, f"v1:{verb.name}") for name, predict in predicts.items()}


def shortcuts(predicts: Mapping[str, Action]) -> dict[str, Shortcut]:
    """The paths by which the answering version is asked."""

    def of(verb: Verb, action: Action) -> Shortcut:
        return Shortcut(
            f"/v1/models/{{model}}:{verb.name}",
            lambda scope, receive: _answer(verb, action, scope, receive, None),
        )

    return {
        f"/v1/models/{name}:{verb.name}": of(verb, action)
        for verb in VERBS
        for name, action in _actions(verb, predicts).items()
    }


def _add(router: APIRouter, method: str, path: str, answer: Answering, summary: str, **extra: Any) -> None:
    """Let a request be answered for the version that answers, a version, and a label."""

    async def newest(request: Request, model: str) -> Response:
        return await answer(request, model, None)

    async def pinned(request: Request, model: str, version: Number) -> Response:
        # Of other texts it is no path of the API.
        if not re.fullmatch("[0-9]{1,18}", version):
            raise _malformed()
        return await answer(request, model, int(version))

    async def labelled(request: Request, model: str, label: Label) -> Response:
        return await answer(request, model, label)

    for below, endpoint in (("", newest), ("/versions/{version}", pinned), ("/labels/{label}", labelled)):
        name = f"tensorflow_serving_{path.strip(':/') or 'status'}_{endpoint.__name__}"
        router.add_api_route(
            f"/v1/models/{{model}}{below}{path}",
            endpoint,
            methods=[method],
            operation_id=name,
            summary=summary,
            response_model=dict[str, Any],
            responses={code: PROBLEMS[code] for code in (READ if method == "GET" else PROBLEMS)},
            **extra,
        )


async def _described(
    describe: Description, request: Request, model: str, version: int | str | None
) -> Response:
    _refuse_verb(model)
    return Response(to_json(describe(request.app.state.registry, model, version)), media_type=JSON)


async def _asked(
    verb: Verb, asked: Mapping[str, Action], request: Request, model: str, version: int | str | None
) -> Response:
    _refuse_verb(model)
    request.app.state.registry.served(model)  # who asks for another one is told the names of these
    answered = await _answer(verb, asked[model], request.scope, request.receive, version)
    return Response(answered.body, media_type=JSON)


def _refuse_verb(model: str) -> None:
    """Raise MalformedBody if a verb was taken for a part of the model's name: it is none, or one too many."""
    if ":" in model:
        raise _malformed()


async def _answer(
    verb: Verb, action: Action, scope: Scope, receive: Receive, version: int | str | None
) -> Answer:
    if not _answers(verb, action.judge.spec):
        raise MalformedBody(f"This model does not {verb.name}; ask it for :predict.")
    read = partial(verb.read, action.judge)
    return await exchange(action, scope, receive, version, lambda _: read)


def _answers(verb: Verb, spec: ModelSpec) -> bool:
    return isinstance(spec.task, verb.tasks)


def envelope(said: Problem) -> Response:
    """{"error": text}; what breaks the declaration is INVALID_ARGUMENT, which is 400 here."""
    status = 400 if said.status == 422 else said.status
    return Response(to_json({"error": said.text}), status, media_type=JSON)


def _rows_and_columns(spec: ModelSpec) -> dict[str, dict[str, Any]]:
    return {
        "rows": {"instances": [dict(spec.example)]},
        "columns": {"inputs": {name: [value] for name, value in spec.example.items()}},
    }


def _examples(spec: ModelSpec) -> dict[str, dict[str, Any]]:
    """The same row, with and without what all examples share."""
    row = dict(spec.example)
    last = {name: row.pop(name) for name in list(row)[-1:]}
    return {"examples": {"examples": [dict(spec.example)]}, "context": {"context": row, "examples": [last]}}


VERBS = (
    Verb("predict", "The outputs of rows", read_predict, (Binary, Multiclass, Regression), _rows_and_columns),
    Verb(
        "classify",
        "A probability for each class",
        partial(read_examples, classes),
        (Binary, Multiclass),
        _examples,
    ),
    Verb("regress", "A number for each row", partial(read_examples, values), (Regression,), _examples),
)
DIALECT = Dialect(routes, re.compile(r"/v1/.*", re.DOTALL), envelope, shortcuts=shortcuts)
