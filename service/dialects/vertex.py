"""Vertex AI's contract for containers: it names a path for health and one for predictions (AIP_...).

https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements. A path that another route
has keeps its meaning: /health/ready fits the contract, and /invocations and /v1/models/MODEL:predict without
`parameters`.
"""

from collections.abc import Mapping
from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from service import actions
from service.actions import Action
from service.dialects.forms import from_instances, parsed, refuse_options
from service.dialects.mlflow import invoke
from service.dialects.tensorflow_serving.bodies import predictions
from service.engine import Read
from service.inference import Raw
from service.instances import Asked
from service.judge import Judge
from service.openapi import JSON
from service.routes import answering_head
from service.settings import Settings


def routes(settings: Settings, predicts: Mapping[str, Action]) -> APIRouter:
    """The routes that the settings name, of the two; to be included after all others."""
    router = APIRouter(tags=["Vertex AI"], include_in_schema=False)
    asked = {name: actions.raw(predict, "vertex") for name, predict in predicts.items()}
    if settings.aip_health_route:

        @router.get(settings.aip_health_route)
        async def health(request: Request) -> Response:
            request.app.state.check_ready()
            return Response()

    if settings.aip_predict_route:

        @router.post(settings.aip_predict_route)
        async def predict(request: Request) -> Response:
            answered = await invoke(asked, request.scope, request.receive, reader)
            return Response(answered.body, media_type=JSON)

    return answering_head(router)


def reader(judge: Judge, _: Mapping[bytes, bytes]) -> Read:
    """What reads a request, whatever its media type is said to be."""
    return partial(read, judge)


def read(judge: Judge, body: bytes) -> Asked:
    """The rows of {"instances": [...]}; `parameters` may be there and empty. Raises ServiceError."""
    document = parsed(judge, body, ("instances", "parameters"))
    refuse_options(document, "parameters")
    return from_instances(judge, document.get("instances")), Raw(predictions)
