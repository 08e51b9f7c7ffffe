"""What every model refuses over HTTP, with which status, pointer and code."""

import json
from typing import Any

import httpx
import pytest

from mean_servable import MeanServable
from rows import bounded, changed, document, refused, without
from servers import client_of
from service.app import create_app
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec

pytestmark = pytest.mark.anyio


async def test_a_value_outside_its_bounds_is_refused_with_its_pointer(post: Any, spec: ModelSpec) -> None:
    """A value below or above the physical range gives 422 and names the feature."""
    for feature in bounded(spec):
        for value in (feature.low - 1, feature.high + 1):
            problem = refused(
                await post(spec.example, changed(spec, **{feature.name: value})),
                422,
                f"#/instances/1/{feature.name}",
            )

            assert problem["errors"][0]["code"] == "out_of_range"
            assert f"{feature.high:g}" in problem["errors"][0]["detail"]


@pytest.mark.parametrize(
    "token", ["NaN", "Infinity", "-Infinity", "1e999", '"7.4"', "true", "null", "[]", "{}", '"unheard of"']
)
async def test_a_value_of_the_wrong_kind_is_refused(
    post: Any, spec: ModelSpec, action: str, token: str
) -> None:
    """A number is a finite JSON number, a flag true or false, a level one of its names."""
    for feature in spec.features:
        if feature.kind == "flag" and token == "true":
            continue
        body = json.dumps(document(spec, changed(spec, **{feature.name: "HERE"}), action=action))
        raw = body.replace('"HERE"', token).encode()

        refused(await post(raw=raw), 422, f"#/instances/0/{feature.name}")


async def test_numbers_are_not_flags(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """1 is not true: a flag that arrives as a number is a column in the wrong place."""
    for feature in spec.features:
        if feature.kind == "flag":
            body = document(spec, changed(spec, **{feature.name: 1}))

            refused(
                await client.post(f"/models/{spec.name}/predict", json=body),
                422,
                f"#/instances/0/{feature.name}",
            )


async def test_a_missing_feature_is_named(post: Any, spec: ModelSpec) -> None:
    """Nothing is filled in: a row without one of its features gives 422 and names it."""
    for feature in spec.features:
        problem = refused(
            await post(without(spec.example, feature.name)), 422, f"#/instances/0/{feature.name}"
        )

        assert problem["errors"][0]["code"] == "missing"


async def test_an_unknown_feature_is_refused_by_its_place(post: Any, spec: ModelSpec) -> None:
    """Nothing is ignored; a key may be a value that slipped, so only the place of a strange one is said."""
    problem = refused(await post(changed(spec, **{"jan kowalski": 1})), 422, "#/instances/0")

    assert problem["errors"][0]["code"] == "unknown_field"
    assert f"Field {len(spec.features) + 1} of the row" in problem["errors"][0]["detail"]
    assert "kowalski" not in json.dumps(problem)


async def test_a_misspelt_feature_is_corrected(post: Any, spec: ModelSpec) -> None:
    """What is close to a declared name is taken for it, in the detail."""
    name = spec.features[0].name
    problem = refused(
        await post(without(spec.example, name) | {name.capitalize() + "s": 1}),
        422,
        f"#/instances/0/{name}",
        "#/instances/0",
    )

    assert f"did you mean {name}?" in problem["errors"][1]["detail"]


async def test_a_known_word_in_the_wrong_place_is_named(post: Any, spec: ModelSpec) -> None:
    """The target, or the table's own heading, is no feature of a row; the declaration knows the word."""
    name = spec.target.name

    refused(await post(changed(spec, **{name: 1})), 422, f"#/instances/0/{name}")


async def test_every_fault_is_reported_at_once(post: Any, spec: ModelSpec) -> None:
    """A caller with three wrong rows mends them in one go."""
    name = spec.features[0].name
    wrong = changed(spec, **{name: None})

    refused(await post(wrong, spec.example, wrong), 422, f"#/instances/0/{name}", f"#/instances/2/{name}")


async def test_at_most_a_hundred_faults_are_reported(post: Any, spec: ModelSpec) -> None:
    """10,000 empty rows cost neither us nor the caller a problem of megabytes."""
    problem = (await post(*[{}] * 10_000)).json()

    assert len(problem["errors"]) == 100
    assert problem["detail"].startswith("At least 100 places")


async def test_hundreds_of_keys_cost_one_sentence(post: Any, spec: ModelSpec) -> None:
    """Neither a row nor an envelope of 900 fields is listed field by field; of more see test_extent."""
    keys = {f"k{number}": 0 for number in range(900)}

    refused(await post(keys), 422, "#/instances/0")
    few = await post(raw=json.dumps(keys).encode())
    assert few.status_code == 400
    assert len(few.json()["errors"]) <= 3


async def test_no_rows_are_refused(post: Any, action: str) -> None:
    """An empty list is not an empty answer: somebody's query went wrong."""
    pointers = ["#/instances", "#/targets"] if action == "evaluate" else ["#/instances"]

    refused(await post(), 422, *pointers)


async def test_too_many_rows_are_refused(post: Any) -> None:
    """More than 100,000 rows give 413."""
    refused(await post(*[{}] * 100_001), 413)


async def test_too_many_explanations_are_refused() -> None:
    """More than 250 give 413, before the model is asked; as many are explained."""
    spec = MODELS["and_gate"]
    registry = Registry({spec.name: spec})
    registry.add(MeanServable(spec))
    async with client_of(create_app(Settings(), registry)) as client:
        rows = [dict(spec.example)] * 251
        more = await client.post("/models/and_gate/explain", json={"instances": rows})
        most = await client.post("/models/and_gate/explain", json={"instances": rows[:250]})

    assert "250" in refused(more, 413)["detail"]
    assert most.status_code == 200


@pytest.mark.parametrize("row", [[], "row", 1, None, True])
async def test_a_row_that_is_no_object_is_refused(post: Any, row: object) -> None:
    """Rows are named fields, never positions."""
    refused(await post(row), 422, "#/instances/0")


@pytest.mark.parametrize(
    "raw", [b"", b" ", b"{", b"instances", b'{"instances": [', b"\xff\xfe", b"[" * 250, b'{"a": 1}}']
)
async def test_malformed_json_is_refused(post: Any, raw: bytes) -> None:
    """What is not JSON gives 400."""
    refused(await post(raw=raw), 400)


@pytest.mark.parametrize(
    ("raw", "pointers"),
    [
        (b"[]", ["#"]),
        (b"null", ["#"]),
        (b'"text"', ["#"]),
        (b'{"instances": 1, "targets": []}', ["#/instances"]),
        (b'{"instances": {}, "targets": []}', ["#/instances"]),
    ],
)
async def test_a_wrong_envelope_is_refused(post: Any, action: str, raw: bytes, pointers: list[str]) -> None:
    """JSON that is not the documented object gives 400."""
    assert (await post(raw=raw)).status_code == 400
    assert (await post(raw=raw)).json()["errors"][0]["pointer"] in [*pointers, "#"]


async def test_an_undefined_field_of_the_envelope_is_refused(
    client: httpx.AsyncClient, spec: ModelSpec, action: str
) -> None:
    """A misspelt option must not be ignored."""
    for extra in ({"paramters": {}}, {"parameters": {"coverag": 0.9}}):
        body = document(spec, spec.example, action=action) | extra

        problem = (await client.post(f"/models/{spec.name}/{action}", json=body)).json()

        assert problem["status"] == 400
        assert problem["errors"][0]["code"] == "unknown_field"


@pytest.mark.parametrize(
    "media",
    [
        "application/json; charset=utf-16",
        "text/plain",
        "application/xml",
        "",
        "application/json; charset=latin-1",
        "application/json; charset*=%00''utf-8",
        "application/json; charset*=rot13''utf-8",
        f"application/json; charset*{'9' * 5000}=utf-8",
        "multipart/form-data",
    ],
)
async def test_other_media_types_are_refused(post: Any, spec: ModelSpec, media: str) -> None:
    """Neither JSON nor CSV gives 415, even if the bytes would parse."""
    refused(await post(spec.example, media=media), 415)


async def test_an_encoded_body_is_refused(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """Unless it is gzip; it is told so, not that it is malformed JSON, and what to send (RFC 7694)."""
    for encoding in ("br", "deflate", "zstd", "gzip, gzip", "identity, gzip", "MARKER", ""):
        headers = {"content-type": "application/json", "content-encoding": encoding}
        response = await client.post(f"/models/{spec.name}/predict", content=b"", headers=headers)

        assert "MARKER" not in str(refused(response, 415))
        assert response.headers["accept-encoding"] == "gzip"


async def test_another_method_is_refused_with_those_that_are_allowed(
    client: httpx.AsyncClient, spec: ModelSpec, action: str
) -> None:
    """405 carries Allow, as RFC 9110 demands."""
    response = await client.get(f"/models/{spec.name}/{action}")

    refused(response, 405)
    assert response.headers["allow"] == "POST"


async def test_csv_is_refused_as_json_is(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """A wrong value, an empty cell and an unknown column get the verdicts and pointers of JSON."""
    url = f"/models/{spec.name}/predict"
    names = [feature.name for feature in spec.features]
    first = names[0]
    cases = [
        (changed(spec, **{first: "unheard of"}), f"#/instances/0/{first}", None),
        (changed(spec, **{first: ""}), f"#/instances/0/{first}", "missing"),
        (changed(spec, shoe_size="43"), "#/instances/0", "unknown_field"),
    ]
    for row, pointer, code in cases:
        text = ",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n"
        response = await client.post(url, content=text, headers={"content-type": "text/csv"})

        problem = refused(response, 422, pointer)
        assert code in (None, problem["errors"][0]["code"])


@pytest.mark.parametrize(
    "text", [b"", b"\n\n", b"a,b\n1\n", b"a,b\n1,2,3\n", b'a,"b\n1,2', b"\xff\xfe\x00", b"1,2,3,4,5,6,7\n"]
)
async def test_csv_that_is_no_table_is_refused(post: Any, text: bytes) -> None:
    """What pandas cannot read, or what names no feature, gives 400 or 422 and never 500."""
    assert (await post(raw=text, media="text/csv")).status_code in (400, 422)


async def test_targets_must_be_as_many_as_instances(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """One target short is refused: nobody's label slips to the next row."""
    body = document(spec, spec.example, spec.example, action="evaluate")
    body["targets"].pop()

    refused(await client.post(f"/models/{spec.name}/evaluate", json=body), 422, "#/targets")


async def test_a_wrong_target_is_refused_with_its_pointer(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """Targets are judged by the declaration as features are."""
    for wrong in (None, "unheard of", 1e9, [], True):
        body = document(spec, spec.example, spec.example, action="evaluate")
        body["targets"][1] = wrong

        refused(await client.post(f"/models/{spec.name}/evaluate", json=body), 422, "#/targets/1")


@pytest.mark.parametrize("version", ["2", "0", "-1", "one", "1.0", "9" * 5000])
async def test_an_unknown_version_is_not_found(
    client: httpx.AsyncClient, spec: ModelSpec, action: str, version: str
) -> None:
    """A version that is not served gives 404, whatever it looks like."""
    body = document(spec, spec.example, action=action)

    refused(await client.post(f"/models/{spec.name}/versions/{version}/{action}", json=body), 404)
    refused(await client.get(f"/models/{spec.name}/versions/{version}"), 404)
