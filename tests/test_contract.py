"""What every model answers over HTTP, for every declared model; a new one is tested by being declared."""

import json
from typing import Any

import httpx
import pytest

from rows import bounded, changed, document, needed, refused, within_parts
from service.spec import ModelSpec
from service.tasks import Binary

pytestmark = pytest.mark.anyio


async def test_the_example_is_answered(post: Any, spec: ModelSpec) -> None:
    """The row that /docs shows works as it stands."""
    response = await post(spec.example)

    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.json()["model"] == spec.name
    assert response.json()["version"] == 1


async def test_bounds_themselves_are_allowed(post: Any, spec: ModelSpec) -> None:
    """A physical bound belongs to the range."""
    for feature in bounded(spec):
        for bound in (feature.low, feature.high):
            response = await post(within_parts(spec, feature, bound))

            assert response.status_code == 200, (feature.name, bound, response.text)


async def test_a_whole_number_may_be_written_with_a_point_but_not_be_fractional(
    post: Any, spec: ModelSpec
) -> None:
    """60.0 is 60, as in JSON Schema; 60.5 is refused."""
    for feature in spec.features:
        if feature.kind == "count":
            whole = float(spec.example[feature.name])

            assert (await post(changed(spec, **{feature.name: whole}))).status_code == 200
            refused(
                await post(changed(spec, **{feature.name: feature.low + 0.5})),
                422,
                f"#/instances/0/{feature.name}",
            )


@pytest.mark.parametrize(
    "media",
    [
        'Application/JSON; charset="UTF-8"',
        "application/json;charset=us-ascii",
        "application/json; odata=verbose; charset = utf-8",
    ],
)
async def test_the_media_type_may_have_parameters(post: Any, spec: ModelSpec, media: str) -> None:
    """The charset must be UTF-8 if it is named; other parameters mean nothing here."""
    assert (await post(spec.example, media=media)).status_code == 200


async def test_a_byte_order_mark_does_no_harm(post: Any, spec: ModelSpec, action: str) -> None:
    """PowerShell and .NET begin their JSON with one."""
    raw = b"\xef\xbb\xbf" + json.dumps(document(spec, spec.example, action=action)).encode()

    assert (await post(raw=raw)).status_code == 200


async def test_predictions_have_the_order_and_length_of_the_rows(
    client: httpx.AsyncClient, spec: ModelSpec
) -> None:
    """The n-th answer belongs to the n-th row, whichever rows stand around it."""
    name = spec.features[1].name
    feature = spec.features[1]
    step = (feature.high - feature.low) / 10
    rows = [
        changed(spec, **{name: feature.low + (round(step * k) if feature.kind == "count" else step * k)})
        for k in range(5, 11)
    ]
    url = f"/models/{spec.name}/predict"

    together = (await client.post(url, json={"instances": rows})).json()["predictions"]
    alone = [(await client.post(url, json={"instances": [row]})).json()["predictions"][0] for row in rows]
    backwards = (await client.post(url, json={"instances": rows[::-1]})).json()["predictions"]

    assert alone[0] != alone[-1], "the rows must differ for this test to mean anything"
    assert together == alone
    assert backwards == alone[::-1]


async def test_csv_answers_what_json_answers(client: httpx.AsyncClient, spec: ModelSpec, action: str) -> None:
    """The same rows as CSV give the same numbers, by public names and by the table's own headings."""
    url, query = f"/models/{spec.name}/{action}", needed(spec, action)
    expected = (await client.post(url, json=document(spec, spec.example, spec.example, action=action))).json()
    names = [feature.name for feature in spec.features]
    sources = [feature.source for feature in spec.features]
    values = [str(spec.example[name]) for name in names]
    codes = [f"{feature.code(spec.example[feature.name]):g}" for feature in spec.features]
    if action == "evaluate":
        names, sources = [*names, spec.target.name], [*sources, spec.target.source]
        values = [*values, str(spec.example_target)]
        codes = [*codes, f"{spec.target.code(spec.example_target):g}"]

    for header, line in ((names, values), (sources, codes), (names[::-1], values[::-1])):
        text = "\n".join([",".join(header), ",".join(line), ",".join(line)])
        response = await client.post(url, content=text, params=query, headers={"content-type": "text/csv"})

        assert response.json() == expected


async def test_evaluation_opens_with_loss_and_accuracy(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """The lecture's [0] and [1], then the task's own; the baseline has the very same metrics."""
    body = document(spec, spec.example, action="evaluate")
    answer = (await client.post(f"/models/{spec.name}/evaluate", json=body)).json()

    assert list(answer)[:2] == ["loss", "accuracy"]
    assert answer["rows"] == 1
    others = {"rows", "comparison", "baseline", "model", "version"}
    assert answer["baseline"].keys() == answer.keys() - others


@pytest.mark.parametrize("rows", [1, 2, 10_000])
async def test_evaluation_of_one_class_or_many_rows_has_an_answer(
    client: httpx.AsyncClient, spec: ModelSpec, rows: int
) -> None:
    """What one class does not define is null, never an error and never NaN."""
    body = document(spec, *[spec.example] * rows, action="evaluate")
    response = await client.post(f"/models/{spec.name}/evaluate", json=body)

    assert response.status_code == 200
    assert "NaN" not in response.text
    if isinstance(spec.task, Binary):
        assert response.json()["auc"] is None


async def test_a_version_can_be_named(client: httpx.AsyncClient, spec: ModelSpec, action: str) -> None:
    """The same answer comes from the version that answers by default."""
    body = document(spec, spec.example, action=action)

    named = await client.post(f"/models/{spec.name}/versions/1/{action}", json=body)

    assert named.json() == (await client.post(f"/models/{spec.name}/{action}", json=body)).json()


async def test_a_label_can_be_named(client: httpx.AsyncClient, spec: ModelSpec, action: str) -> None:
    """`stable` points at the only version there is; another label is not there."""
    body, home = document(spec, spec.example, action=action), f"/models/{spec.name}"
    labelled = await client.post(f"{home}/labels/stable/{action}", json=body)

    assert labelled.json() == (await client.post(f"{home}/{action}", json=body)).json()
    assert (await client.post(f"{home}/labels/canary/{action}", json=body)).status_code == 404
