"""The service that tutorials show: FastAPI, a pydantic row, the SavedModel's signature by keyword.

    ARTIFACT=artifacts/survival/5 python -m uvicorn benchmarks.tutorial:app

It validates no more than the service does, and answers no more than the graph's outputs. `benchmarks.compare`
runs it beside the service.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from fastapi import FastAPI
from pydantic import BaseModel

from service.models import MODELS

FOLDER = Path(os.environ["ARTIFACT"])
SPEC = MODELS[FOLDER.parent.name]

app = FastAPI()
model = tf.saved_model.load(str(FOLDER))
infer = model.signatures["serving_default"]


class Rows(BaseModel):
    """The body of a request."""

    instances: list[SPEC.row]  # type: ignore[name-defined]


@app.get("/")
def ready() -> dict[str, str]:
    """Say that the model is loaded."""
    return {"status": "ready"}


@app.post("/")
def predict(rows: Rows) -> dict[str, Any]:
    """Answer the outputs of the graph, each as a list."""
    values = [
        [feature.code(getattr(row, feature.name)) for feature in SPEC.features] for row in rows.instances
    ]
    outputs = infer(x=tf.constant(np.array(values, np.float32)))
    return {name: tensor.numpy().tolist() for name, tensor in outputs.items()}
