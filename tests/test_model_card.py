"""GET .../card: the model card as JSON, and its drawings."""

import httpx
import pytest

from mean_servable import DRAWINGS, MeanServable, manifest_of
from rows import refused
from servers import client_of
from service.app import create_app
from service.card import Card
from service.models import MODELS
from service.registry import Registry
from service.settings import Settings
from service.spec import ModelSpec

pytestmark = pytest.mark.anyio

FILES = {"calibration.png": "image/png", "confusion.svg": "image/svg+xml"}


async def test_the_card_is_this(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """The declaration and the manifest, whole."""
    manifest = manifest_of(spec)
    threshold = spec.threshold
    answer = (await client.get(f"/models/{spec.name}/card")).json()

    assert answer == {
        "model": spec.name,
        "version": 1,
        "title": spec.title,
        "purpose": spec.description,
        "notice": "Not for use.",
        "task": spec.task.name,
        "answers": {output.name: output.meaning for output in spec.outputs},
        "threshold": vars(threshold) if threshold else None,
        "data": {"credit": "Nobody", "errors": "none", "rows": 0, "sha256": {}},
        "quality": manifest.quality.model_dump(),
        "limits": ["it is arithmetic"],
        "training": {
            "made_by": "tests/mean_servable.py",
            "recipe": "mean",
            "seed": 0,
            "parameters": 0,
            "code_revision": "unknown",
            "libraries": {},
            "forced": None,
        },
        "drawings": [
            {
                "url": f"/models/{spec.name}/versions/1/card/{file}",
                "title": file.title(),
                "shows": "nothing",
            }
            for file in FILES
        ],
    }
    assert answer["quality"]["groups"][0]["name"] == "under 60"
    Card.model_validate(answer, extra="forbid")


async def test_a_version_has_its_own_card(client: httpx.AsyncClient) -> None:
    """The newest version's card is that version's; another one is asked for by number."""
    registry = Registry(MODELS)
    for version in (1, 2):
        registry.add(MeanServable(MODELS["and_gate"], version))
    async with client_of(create_app(Settings(), registry)) as two:
        newest = (await two.get("/models/and_gate/card")).json()
        second = (await two.get("/models/and_gate/versions/2/card")).json()
        first = (await two.get("/models/and_gate/versions/1/card")).json()

    assert newest == second
    assert (first["version"], second["version"]) == (1, 2)
    assert first["drawings"][0]["url"].startswith("/models/and_gate/versions/1/card/")
    refused(await client.get("/models/and_gate/versions/2/card"), 404)


async def test_the_description_links_to_the_card(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """The catalogue is lean: metrics and the baseline's; the card has all the rest."""
    described = (await client.get(f"/models/{spec.name}")).json()
    card = (await client.get(described["card_url"])).json()

    assert described["metrics"].keys() == {"protocol", "rows", "metrics", "baseline"}
    assert described["metrics"].items() <= card["quality"].items()
    assert described["card"].startswith("#")


@pytest.mark.parametrize("below", ["", "/versions/1", "/labels/stable"])
@pytest.mark.parametrize("file", FILES)
async def test_a_drawing_is_served_with_its_type(
    client: httpx.AsyncClient, spec: ModelSpec, below: str, file: str
) -> None:
    """The bytes of the artifact, for GET; HEAD says as much without them."""
    url = f"/models/{spec.name}{below}/card/{file}"
    response = await client.get(url)
    head = await client.head(url)

    assert response.status_code == head.status_code == 200
    assert response.content == DRAWINGS[file]
    assert response.headers["content-type"] == head.headers["content-type"] == FILES[file]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "sandbox"


async def test_the_urls_of_the_card_lead_to_its_drawings(client: httpx.AsyncClient) -> None:
    """As they stand in the card."""
    drawings = (await client.get("/models/survival/card")).json()["drawings"]

    assert [(await client.get(drawing["url"])).content for drawing in drawings] == list(DRAWINGS.values())


@pytest.mark.parametrize(
    "file",
    [
        "MARKER.png",
        "card.md",
        "manifest.json",
        "saved_model.pb",
        "..%2Fmanifest.json",
        "%2e%2e%2f%2e%2e%2fmodels.svg",
        "%2Fetc%2Fpasswd",
        "calibration.png%00",
        "calibration.PNG",
    ],
)
async def test_nothing_but_a_drawing_is_served(client: httpx.AsyncClient, file: str) -> None:
    """No path of a client ever reaches the disk; its name is not repeated."""
    for below in ("", "/versions/1", "/labels/stable"):
        response = await client.get(f"/models/survival{below}/card/{file}")

        refused(response, 404)
        assert "MARKER" not in response.text


async def test_a_model_without_a_version_has_no_card() -> None:
    """503 as for its other questions, and HEAD too."""
    async with client_of(create_app(Settings(), Registry(MODELS))) as client:
        for path in ("card", "card/calibration.png"):
            assert refused(await client.get(f"/models/survival/{path}"), 503)
            assert (await client.head(f"/models/survival/{path}")).status_code == 503


async def test_the_card_is_typed_in_openapi(client: httpx.AsyncClient, spec: ModelSpec) -> None:
    """Programs can read it without trying; the drawings are announced as pictures."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    for below in ("", "/versions/{version}", "/labels/{label}"):
        card = paths[f"/models/{spec.name}{below}/card"]["get"]["responses"]["200"]
        drawing = paths[f"/models/{spec.name}{below}/card/{{file}}"]["get"]["responses"]["200"]

        assert card["content"]["application/json"]["schema"]["$ref"].endswith("/Card")
        assert set(drawing["content"]) == set(FILES.values())
