"""Options of requests: in the body for JSON, in the query for CSV, and refused with what is allowed."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from rows import document, needed, refused
from service.actions import NAMES, actions
from service.conformal import COVERAGES
from service.models import MODELS
from service.spec import ModelSpec

pytestmark = pytest.mark.anyio

CSV = {"content-type": "text/csv"}
GATE = "x1,x2\n1,1\n"


def table(spec: ModelSpec) -> str:
    return ",".join(spec.example) + "\n" + ",".join(map(str, spec.example.values()))


@pytest.mark.parametrize("coverage", COVERAGES)
async def test_the_query_of_a_csv_body_does_what_the_parameters_of_a_json_body_do(
    client: httpx.AsyncClient, spec: ModelSpec, coverage: float
) -> None:
    """Whole answers are equal, and for models with sets or intervals differ from the default's."""
    url = f"/models/{spec.name}/predict"
    body = document(spec, spec.example, coverage=coverage)

    as_json = (await client.post(url, json=body)).json()
    as_csv = (await client.post(url, content=table(spec), headers=CSV, params={"coverage": coverage})).json()

    assert as_json == as_csv
    assert as_json["coverage"] == (coverage if spec.task.critical_length else None)


async def test_nine_in_ten_is_the_coverage_if_none_is_asked_for(
    client: httpx.AsyncClient, spec: ModelSpec
) -> None:
    """With `parameters` empty, absent or spelt out."""
    url = f"/models/{spec.name}/predict"
    bodies = [
        document(spec, spec.example),
        document(spec, spec.example) | {"parameters": {}},
        document(spec, spec.example, coverage=0.9),
    ]
    answers = [(await client.post(url, json=body)).json() for body in bodies]

    assert answers[0] == answers[1] == answers[2]


WRONG: list[tuple[str, Mapping[str, Any], str, str]] = [
    ("predict", {"coverage": 0.99}, "coverage", "one of 0.8, 0.9, 0.95"),
    ("predict", {"coverage": 1}, "coverage", "one of 0.8, 0.9, 0.95"),
    ("predict", {"coverage": "MARKER"}, "coverage", "one of 0.8, 0.9, 0.95"),
    ("what-if", {"feature": "MARKER"}, "feature", 'one of "x1", "x2"'),
    ("what-if", {"feature": "x1", "points": 1}, "points", "a whole number from 2 to 200"),
    ("what-if", {"feature": "x1", "points": 201}, "points", "a whole number from 2 to 200"),
    ("what-if", {"feature": "x1", "points": 2.5}, "points", "a whole number from 2 to 200"),
    ("what-if", {"feature": "x1", "points": "1_0"}, "points", "a whole number from 2 to 200"),
    ("what-if", {"feature": "x1", "coverage": 0.5}, "coverage", "one of 0.8, 0.9, 0.95"),
]


@pytest.mark.parametrize(("action", "options", "name", "allowed"), WRONG)
async def test_a_wrong_option_is_refused_with_what_is_allowed(
    client: httpx.AsyncClient, action: str, options: Mapping[str, Any], name: str, allowed: str
) -> None:
    """422 with the option's pointer, for JSON and CSV alike; the value is not repeated."""
    url = f"/models/and_gate/{action}"
    body = {"instances": [{"x1": 1, "x2": 1}], "parameters": options}
    as_json = refused(await client.post(url, json=body), 422, f"#/parameters/{name}")
    as_csv = refused(
        await client.post(url, content=GATE, headers=CSV, params=dict(options)), 422, f"#/parameters/{name}"
    )

    assert as_json["errors"] == as_csv["errors"]
    assert as_json["errors"][0] == {
        "pointer": f"#/parameters/{name}",
        "detail": f"{name} is not allowed; give {allowed}.",
        "code": "not_allowed",
    }
    assert as_json["type"] == "urn:problem:invalid-parameters"
    assert "MARKER" not in json.dumps(as_json) + json.dumps(as_csv)


@pytest.mark.parametrize("wrong", [None, True, [], {}, "0.9", "0,9"])
async def test_an_option_of_the_wrong_kind_is_refused(
    client: httpx.AsyncClient, spec: ModelSpec, wrong: object
) -> None:
    """A coverage is a number of three, a feature a word, points a whole number."""
    for action, name in (("predict", "coverage"), ("what-if", "feature"), ("what-if", "points")):
        body = document(spec, spec.example, action=action, **{name: wrong})

        refused(await client.post(f"/models/{spec.name}/{action}", json=body), 422, f"#/parameters/{name}")


async def test_whole_points_may_be_written_with_a_point(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """3.0 is 3, as in JSON Schema and as for the counts of a row."""
    url = f"/models/{spec.name}/what-if"
    bodies = [document(spec, spec.example, action="what-if", points=points) for points in (3, 3.0)]
    answers = [(await client.post(url, json=body)).json() for body in bodies]

    assert answers[0] == answers[1]
    assert "curves" in answers[0]


async def test_an_undefined_option_is_refused_and_the_defined_are_named(
    client: httpx.AsyncClient, spec: ModelSpec, action: str
) -> None:
    """400: an option that was meant must not be ignored, and its name may be a value that slipped."""
    url = f"/models/{spec.name}/{action}"
    body = document(spec, spec.example, action=action, MARKER=1)
    query = needed(spec, action) | {"MARKER": "1"}
    text = table(spec)
    if action == "evaluate":
        text = text.replace("\n", f",{spec.target.name}\n") + f",{spec.example_target}"

    as_json = refused(await client.post(url, json=body), 400, "#/parameters")
    as_csv = refused(await client.post(url, content=text, headers=CSV, params=query), 400, "#/parameters")

    assert as_json["errors"] == as_csv["errors"]
    allowed = {
        "predict": "allowed: coverage.",
        "what-if": "allowed: coverage, feature, points.",
        "evaluate": "this action has none, leave it out.",
        "explain": "this action has none, leave it out.",
    }
    assert as_json["detail"] == f"There is an option that is not defined; {allowed[action]}"
    assert "MARKER" not in json.dumps(as_json) + json.dumps(as_csv)


async def test_the_query_of_a_json_body_is_refused(
    client: httpx.AsyncClient, spec: ModelSpec, action: str
) -> None:
    """400 that says where options go, even if the option and its value would be right."""
    body = document(spec, spec.example, action=action)
    response = await client.post(f"/models/{spec.name}/{action}?coverage=0.9", json=body)

    assert "move them" in refused(response, 400)["detail"]


async def test_an_option_that_stands_twice_in_a_query_is_refused(client: httpx.AsyncClient) -> None:
    """Nobody can know which of the two was meant."""
    url = "/models/and_gate/predict?coverage=0.8&coverage=0.9"

    assert "more than once" in refused(await client.post(url, content=GATE, headers=CSV), 400)["detail"]


async def test_wrong_options_and_wrong_rows_are_reported_at_once(
    client: httpx.AsyncClient, spec: ModelSpec
) -> None:
    """The caller mends both in one go."""
    name = spec.features[0].name
    body = document(spec, dict(spec.example) | {name: None}, coverage=2)

    refused(
        await client.post(f"/models/{spec.name}/predict", json=body),
        422,
        "#/parameters/coverage",
        f"#/instances/0/{name}",
    )


@pytest.mark.parametrize("parameters", [None, [], 1, "coverage"])
async def test_parameters_that_are_no_object_are_refused(
    client: httpx.AsyncClient, spec: ModelSpec, action: str, parameters: object
) -> None:
    """They belong to the envelope."""
    body = document(spec, spec.example, action=action) | {"parameters": parameters}

    refused(await client.post(f"/models/{spec.name}/{action}", json=body), 400, "#/parameters")


async def test_a_missing_feature_is_asked_for(client: httpx.AsyncClient) -> None:
    """A what-if without a feature has nothing to vary."""
    url, rows = "/models/and_gate/what-if", {"instances": [{"x1": 1, "x2": 1}]}
    problem = refused(await client.post(url, json=rows | {"parameters": {}}), 422, "#/parameters/feature")
    in_csv = refused(await client.post(url, content=GATE, headers=CSV), 422, "#/parameters/feature")
    absent = refused(await client.post(url, json=rows), 400, "#/parameters")

    assert problem["errors"] == in_csv["errors"]
    assert problem["errors"][0]["detail"] == 'feature is missing; give one of "x1", "x2".'
    assert '"parameters": {...}' in absent["errors"][0]["detail"]


@pytest.mark.parametrize("action", NAMES)
async def test_options_stand_in_openapi_as_body_and_as_query(client: httpx.AsyncClient, action: str) -> None:
    """The same names with the same allowed values; a query parameter is never filled in by a form."""
    components = (await client.get("/openapi.json")).json()
    for spec in MODELS.values():
        operation = components["paths"][f"/models/{spec.name}/{action}"]["post"]
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        request = components["components"]["schemas"][reference.rsplit("/", 1)[1]]
        schema = request["properties"]["parameters"]
        options = components["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        query = {option["name"]: option for option in operation.get("parameters", [])}

        assert ("parameters" in request["required"]) == (action == "what-if")
        assert list(query) == list(options.get("properties", {}))
        for name, option in query.items():
            assert option["in"] == "query"
            assert not option.get("required")
            assert "default" not in option["schema"]
            for key in ("enum", "minimum", "maximum", "type"):
                assert option["schema"].get(key) == options["properties"][name].get(key)


def test_the_options_of_each_action_are_these() -> None:
    """A new option is documented, tested and written into the README."""
    offered = {
        action.name: list(action.judge.parameters.model_fields) for action in actions(MODELS["survival"])
    }

    assert offered == {
        "predict": ["coverage"],
        "what-if": ["coverage", "feature", "points"],
        "evaluate": [],
        "explain": [],
    }
