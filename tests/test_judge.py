"""The quick way of judging a small JSON body gives the verdicts of the thorough one."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.actions import NAMES, actions
from service.decoder import decoder, values_of
from service.errors import MalformedBody, RefusedBody
from service.judge import Judge
from service.models import MODELS
from service.parameters import DEFAULT_COVERAGE
from service.spec import ModelSpec

JUDGES = {
    f"{name} {action.name}": action.judge
    for name, spec in MODELS.items() for action in actions(spec) if action.name != "evaluate"
}  # fmt: skip
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 90), st.floats(), st.just([]), st.just(10**400),
    st.sampled_from(["DGN1", "red", "white", "1", ""]),
)  # fmt: skip


def thorough(judge: Judge, body: bytes) -> Any:
    """The verdict of the request's own type, which alone says what is wrong; None for a refusal."""
    try:
        instances, parameters = judge._asked(judge.request.model_validate_json(body))
    except (RefusedBody, ValueError):
        return None
    return np.asarray(instances.cells, np.float64).tolist(), parameters


def quick(judge: Judge, body: bytes) -> Any:
    try:
        instances, parameters = judge.json(body)
    except RefusedBody:
        return None
    return np.asarray(instances.cells, np.float64).tolist(), parameters


def valid(spec: ModelSpec, action: str) -> dict[str, Any]:
    document: dict[str, Any] = {"instances": [dict(spec.example)]}
    if action == "what-if":
        document["parameters"] = {"feature": spec.features[0].name}
    return document


@pytest.mark.parametrize("name", JUDGES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_both_ways_agree_on_rows_of_which_a_value_is_another(name: str, data: st.DataObject) -> None:
    """Accepted by both, with the same numbers and options, or by neither."""
    judge = JUDGES[name]
    document = valid(judge.spec, name.split()[1])
    feature = data.draw(st.sampled_from([*judge.spec.example, "horse"]))
    value = data.draw(VALUES)
    document["instances"][0][feature] = value
    if data.draw(st.booleans()):
        document["instances"].append(dict(reversed(judge.spec.example.items())))
    body = json.dumps(document).encode()

    assert quick(judge, body) == thorough(judge, body)


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {}}, {"parameters": {"coverage": 0.8}}, {"parameters": {"coverage": 0.7}},
        {"parameters": None}, {"parameters": {"horse": 1}}, {"instances": []}, {"instances": None},
        {"instances": [{}]}, {"horse": 1}, {"parameters": {"points": 5}}, {"targets": [1]},
    ],
)  # fmt: skip
def test_both_ways_agree_on_envelopes(name: str, change: dict[str, Any]) -> None:
    """Options, empty lists, undefined fields."""
    judge = JUDGES[name]
    body = json.dumps(valid(judge.spec, name.split()[1]) | change).encode()

    assert quick(judge, body) == thorough(judge, body)


@pytest.mark.parametrize(
    "text", ['{"x1": 1, "x1": 0, "x2": 1}', '{"x2": 1, "x1": 0}', '{"x1": 0.0, "x2": true}']
)
def test_both_ways_read_repeated_and_reordered_names_alike(text: str) -> None:
    """The last of a repeated name counts; values stand in declared order, whatever the body's."""
    judge, body = JUDGES["and_gate predict"], f'{{"instances": [{text}]}}'.encode()

    assert quick(judge, body) == thorough(judge, body)


def test_options_that_do_not_count_have_to_be_json_too() -> None:
    """The decoder skips them unread; the body is as wrong as a large one would be."""
    body = b'{"instances": [{"x1": 1, "x2": 1}], "parameters": "\xff\xfe", "parameters": {}}'

    with pytest.raises(MalformedBody):
        JUDGES["and_gate predict"].json(body)


def test_the_quick_way_is_taken() -> None:
    """What is plainly right is no row of pydantic's; who names no options gets the default."""
    judge = JUDGES["survival predict"]
    rows, options = decoder(judge.spec.row).request(json.dumps(valid(judge.spec, "predict")).encode())

    assert values_of(rows[0]) == tuple(judge.spec.example[feature.name] for feature in judge.spec.features)
    assert options == b""
    assert judge.json(json.dumps(valid(judge.spec, "predict")).encode())[1].coverage == DEFAULT_COVERAGE
    assert set(NAMES) >= {name.split()[1] for name in JUDGES}
