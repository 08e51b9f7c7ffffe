"""Rows that differ from a model's example in what a test is about, and how a refusal of them looks."""

from collections.abc import Mapping
from typing import Any

import httpx

from service.features import Feature
from service.spec import ModelSpec

PROBLEM = "application/problem+json"


def changed(spec: ModelSpec, **values: Any) -> dict[str, Any]:
    """The model's example row with some of its values changed."""
    return dict(spec.example) | values


def without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The row without one of its fields."""
    return {key: value for key, value in row.items() if key != name}


def bounded(spec: ModelSpec) -> list[Feature]:
    """The features with physical bounds."""
    return [feature for feature in spec.features if feature.low is not None]


def within_parts(spec: ModelSpec, feature: Feature, value: float) -> dict[str, Any]:
    """The example with this value, and with the whole or the part of it moved along where there is one."""
    row = changed(spec, **{feature.name: value})
    for part in spec.features:
        if part.at_most and row[part.name] > row[part.at_most]:
            whole = next(other for other in spec.features if other.name == part.at_most)
            row |= {part.at_most: whole.high} if part.name == feature.name else {part.name: part.low}
    return row


def refused(response: httpx.Response, status: int, *pointers: str) -> dict[str, Any]:
    """Assert that the response is a whole problem with these pointers, and return it."""
    body = response.json()
    assert response.status_code == status, body
    assert response.headers["content-type"] == PROBLEM
    assert body["status"] == status
    assert {"type", "title", "detail", "instance"} <= body.keys()
    assert [error["pointer"] for error in body.get("errors", [])] == list(pointers)
    return body


def document(spec: ModelSpec, *rows: Any, action: str = "predict", **options: Any) -> dict[str, Any]:
    """A body with these rows, labelled where the action wants labels, and with the options it needs."""
    targets = {"targets": [spec.example_target] * len(rows)} if action == "evaluate" else {}
    chosen = needed(spec, action) | options
    return {"instances": list(rows)} | targets | ({"parameters": chosen} if chosen else {})


def needed(spec: ModelSpec, action: str) -> dict[str, Any]:
    """The options that an action cannot do without, as a body or a query carries them."""
    return {"feature": spec.features[-1].name} if action == "what-if" else {}
