"""Rows that differ from a model's example in what a test is about."""

from collections.abc import Mapping
from typing import Any

from service.spec import ModelSpec


def changed(spec: ModelSpec, **values: Any) -> dict[str, Any]:
    """The model's example row with some of its values changed."""
    return dict(spec.example) | values


def without(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The row without one of its fields."""
    return {key: value for key, value in row.items() if key != name}
