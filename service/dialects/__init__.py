"""The languages that clients already speak, beside the service's own. DIALECTS is the only list of them."""

from collections.abc import Mapping

from fastapi import FastAPI

from service import problems
from service.actions import Action
from service.dialects import mlflow, open_inference, tensorflow_serving, vertex
from service.dialects.dialect import Dialect
from service.routes import Shortcut

DIALECTS: tuple[Dialect, ...] = (tensorflow_serving.DIALECT, open_inference.DIALECT, mlflow.DIALECT)


def mount(api: FastAPI, predicts: Mapping[str, Action]) -> dict[str, Shortcut]:
    """Add every dialect's routes to the application, and its way of wording errors to `problems`.

    Returns the shortcuts of all.
    """
    shortcuts: dict[str, Shortcut] = {}
    for dialect in DIALECTS:
        api.include_router(dialect.routes(predicts))
        problems.ENVELOPES[dialect.paths] = dialect.envelope
        shortcuts |= dialect.shortcuts(predicts)
    api.include_router(vertex.routes(api.state.settings, predicts))
    return shortcuts
