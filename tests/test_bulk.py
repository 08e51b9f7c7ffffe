"""Many rows are judged column by column and get the verdicts that they get row by row: bodies at random."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rows import needed
from service import bulk, judge, table
from service.actions import Action, actions
from service.decoder import Doubt
from service.errors import RefusedBody, TooLarge
from service.features import Feature, Value
from service.models import MODELS
from service.spec import ModelSpec

ODD: list[Any] = [None, True, "1", "x", 5.9999999999, 1e-320, 10**400, -0.0, [], {}, "DGN2", float("nan")]
JSON_MARKS = st.sampled_from([*'{}[],:"\\ 0aN-', "\\u0069", '"instances"', "}, ", "1e999", "NaN", "\n", "]"])
CSV_MARKS = st.sampled_from(
    [*',\n\r" ;0a_-.e', "\ufeff", "nan", "1e999", "true", "TRUE", "DGN2", "\n\n", ",,"]
)


def values(feature: Feature) -> st.SearchStrategy[Value]:
    """What fits a feature."""
    if feature.kind == "flag":
        return st.booleans()
    if feature.kind == "category":
        return st.sampled_from(list(feature.levels))
    whole = st.integers(math.ceil(feature.low or 0), math.floor(feature.high or 0))
    return whole if feature.kind == "count" else whole | st.floats(feature.low, feature.high)


def rows(spec: ModelSpec) -> st.SearchStrategy[dict[str, Any]]:
    """A row that fits."""

    def mended(row: dict[str, Any]) -> dict[str, Any]:
        for part in spec.parts:
            row[part.name], row[part.at_most] = sorted((row[part.name], row[part.at_most]))
        return row

    return st.fixed_dictionaries({feature.name: values(feature) for feature in spec.features}).map(mended)


@st.composite
def edited(draw: st.DrawFn, text: str, marks: st.SearchStrategy[str]) -> str:
    """The text with up to two marks put in place of up to three characters."""
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(marks) + text[place + draw(st.integers(0, 3)) :]
    return text


@st.composite
def documents(draw: st.DrawFn, action: Action, spoil: bool) -> str:
    """A JSON body, somewhere spoilt or not at all."""
    spec = action.judge.spec
    instances = draw(st.lists(rows(spec), min_size=1, max_size=9))
    if spoil and draw(st.sampled_from([False, False, True])):
        spoilt = draw(st.sampled_from(instances))
        # Among what is drawn: a part that is above its whole.
        odd = st.sampled_from(ODD) | st.sampled_from([8, 9.5, 450])
        spoilt[draw(st.sampled_from([*spoilt, *(part.name for part in spec.parts), "horse"]))] = draw(odd)
    count = len(instances) + (draw(st.sampled_from([0, 0, 0, 0, 1, -1])) if spoil else 0)
    targets = draw(st.lists(values(spec.target), min_size=count, max_size=count))
    fields: dict[str, Any] = {"instances": instances, "parameters": needed(spec, action.name)}
    fields |= {"targets": targets} if action.judge.labelled else {}
    names = draw(st.permutations(list(fields)))
    body = json.dumps({name: fields[name] for name in names}, indent=draw(st.sampled_from([None, 1])))
    return draw(edited(body, JSON_MARKS)) if spoil else body


@st.composite
def lines(draw: st.DrawFn, action: Action, spoil: bool) -> str:
    """A CSV body in the words of JSON or in the table's codes, somewhere spoilt or not at all."""
    spec = action.judge.spec
    columns = [*spec.features, *([spec.target] if action.judge.labelled else [])]
    instances = draw(st.lists(rows(spec), min_size=1, max_size=9))
    coded = draw(st.booleans())
    table_of = [
        [
            feature.code(value) if coded and feature.levels else value
            for feature, value in zip(columns, row, strict=True)
        ]
        for row in (
            [instance[feature.name] for feature in spec.features]
            + ([draw(values(spec.target))] if action.judge.labelled else [])
            for instance in instances
        )
    ]
    names = [feature.source if coded else feature.name for feature in columns]
    if spoil and draw(st.sampled_from([False, False, True])):
        # What is in every line: of a column of one kind pandas makes something else than of a cell.
        place, cell = draw(st.integers(0, len(names) - 1)), draw(CSV_MARKS)
        for row in table_of:
            row[place] = cell
    if spec.identifier and draw(st.booleans()):
        names = [spec.identifier, *names]
        table_of = [[number, *row] for number, row in enumerate(table_of)]
    text = "\n".join(
        ",".join(
            f"{int(cell) if coded and cell == int(cell) else cell}" if isinstance(cell, float) else str(cell)
            for cell in row
        )
        for row in table_of
    )
    head = ",".join(names) + "\n" if not spoil or draw(st.booleans()) else ""
    body = head + text + draw(st.sampled_from(["", "\n"]))
    body = body.replace("\n", draw(st.sampled_from(["\n", "\n", ",\n", ",,\n"])))
    return draw(edited(body, CSV_MARKS)) if spoil else body


def verdict(action: Action, body: str, media: str) -> Any:
    """What the judge says: rows, targets, ids and options, or the exception with every violation."""
    encoded = body.encode()
    try:
        if media == "json":
            instances, parameters = action.judge.json(encoded)
        else:
            instances, parameters = table.read_csv(
                action.judge, encoded, needed(action.judge.spec, action.name)
            )
    except (RefusedBody, TooLarge) as error:
        return type(error), str(error), getattr(error, "violations", ())
    targets = None if instances.targets is None else instances.targets.tolist()
    ids = None if instances.ids is None else list(instances.ids)
    return np.asarray(instances.cells, np.float32).tobytes(), targets, ids, parameters


def plain(action: Action, body: str, media: str) -> bool:
    """Whether the body is accepted column by column."""
    try:
        if media == "json":
            action.judge._many(body.encode())
        else:
            table._many(action.judge, body.encode(), needed(action.judge.spec, action.name))
    except (Doubt, RefusedBody, ValidationError):
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [True, False])
@pytest.mark.parametrize("media", ["json", "csv"])
@pytest.mark.parametrize("name", ["survival", "wine_quality"])
def test_columns_get_the_verdicts_of_rows(
    name: str, media: str, spoil: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Value for value, pointer for pointer, word for word; and what has no fault is read by columns."""
    monkeypatch.setattr(bulk, "PIECE", 150)
    monkeypatch.setattr(table, "PIECE", 3)
    offered = actions(MODELS[name])

    @settings(
        max_examples=150 if spoil else 20,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        action = data.draw(st.sampled_from(offered))
        body = data.draw((documents if media == "json" else lines)(action, spoil))
        found = []
        for size in (-1, 10**9):
            monkeypatch.setattr(judge, "SMALL_BODY", size)
            monkeypatch.setattr(table, "small", lambda _, size=size: size > 0)
            found.append(verdict(action, body, media))
        assert found[0] == found[1]
        assert spoil or plain(action, body, media)

    compare()


AGED, LESS = MODELS["survival"], MODELS["wine_quality"]
SO2 = {"free_sulfur_dioxide": 100.0, "total_sulfur_dioxide": 30.0}


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        (AGED, {"age": 60.5}),
        (AGED, {"age": 60.00000001}),
        (AGED, {"age": 121}),
        (AGED, {"age": True}),
        (AGED, {"smoking": 1}),
        (AGED, {"diagnosis": 2}),
        (AGED, {"diagnosis": "DGN9"}),
        (AGED, {"horse": 1}),
        (AGED, {"age": None}),
        (LESS, SO2),
        (LESS, {"alcohol": math.nextafter(25.0, 26.0)}),
        (LESS, {"alcohol": math.nan}),
    ],
)
def test_a_fault_behind_the_first_row_is_no_plain_column(
    spec: ModelSpec, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each bound, type, level, field and part has its guard: pydantic judges the first row alone."""
    action = actions(spec)[0]
    rows = [dict(spec.example) for _ in range(3)]
    rows[1] |= changes
    assert_doubted(action, json.dumps({"instances": rows}), monkeypatch)


def test_a_field_that_is_missing_behind_the_first_row_is_no_plain_column(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [dict(AGED.example) for _ in range(3)]
    del rows[1]["age"]
    assert_doubted(actions(AGED)[0], json.dumps({"instances": rows}), monkeypatch)


@pytest.mark.parametrize("second", ["instances", "\\u0069nstances"])
@pytest.mark.parametrize("before", [True, False])
def test_rows_that_stand_there_twice_are_no_plain_column(
    second: str, before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two equal keys the last one counts, however it is spelt."""
    first = json.dumps({"instances": [dict(AGED.example)] * 2})[1:-1]
    other = json.dumps([dict(AGED.example)])
    pair = [f'"{second}": {other}', first] if before else [first, f'"{second}": {other}']
    body = "{" + ", ".join(pair) + "}"
    action = actions(AGED)[0]

    assert not plain(action, body, "json")
    assert differing(action, body, monkeypatch) is None


def assert_doubted(action: Action, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assert that a body is refused by columns as by rows, with the same words."""
    assert not plain(action, body, "json")
    assert differing(action, body, monkeypatch) is None
    assert isinstance(verdict(action, body, "json")[0], type)


def differing(action: Action, body: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The two verdicts on a body, by columns and by rows, if they differ."""
    found = []
    for size in (-1, 10**9):
        monkeypatch.setattr(judge, "SMALL_BODY", size)
        found.append(verdict(action, body, "json"))
    return None if found[0] == found[1] else found


@pytest.mark.parametrize("options", [{"coverage": 0.7}, {"horse": 1}])
def test_what_is_wrong_with_rows_and_options_is_told_alike_of_small_and_large_bodies(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that exceeds its whole is found otherwise than a value out of its bounds."""
    body = json.dumps({"instances": [LESS.example | SO2], "parameters": options})

    assert differing(actions(LESS)[0], body, monkeypatch) is None


def test_more_rows_than_a_request_may_hold_are_not_read_to_their_end() -> None:
    """A body of millions of short lines costs no more than one of a hundred thousand."""
    action = actions(MODELS["and_gate"])[0]
    rows = judge.MAX_ROWS + 2 * table.PIECE
    for body, media in (
        ("x1,x2\n" + "1,0\n" * rows, "csv"),
        ('{"instances": [' + '{"x1":1,"x2":0},' * rows, "json"),
    ):
        assert not plain(action, body, media)
        with pytest.raises((TooLarge, RefusedBody)):
            action.judge.json(body.encode()) if media == "json" else table.read_csv(
                action.judge, body.encode(), {}
            )
