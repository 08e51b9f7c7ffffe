"""Which pages of other origins may ask: those that are listed, and none by default."""

import httpx
import pytest
from keyrings import Keyring

from rows import refused
from servers import client_of
from service.app import create_app
from service.registry import Registry
from service.settings import Settings

pytestmark = pytest.mark.anyio

GATE = {"instances": [{"x1": 1, "x2": 1}]}
PAGE = "https://clinic.example"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


async def test_a_page_that_is_listed_may_ask(ring: Keyring, registry: Registry) -> None:
    """A preflight needs no key; the answer to the key's request, and a refusal, can be read by the page."""
    settings = Settings(api_keys_file=ring.file, cors_origins=f"{PAGE},https://other.example")
    gate = "/models/and_gate/predict"
    async with client_of(create_app(settings, registry)) as client:
        asked = await client.options(gate, headers=PREFLIGHT)
        answered = await client.post(gate, json=GATE, headers={"origin": PAGE} | ring.bearer("predict"))
        refusal = await client.post(gate, json=GATE, headers={"origin": PAGE})
        strange = await client.post(gate, json=GATE, headers={"origin": "https://evil.example"})
        elsewhere = await client.options(gate, headers=PREFLIGHT | {"origin": "https://evil.example"})

    assert [asked.status_code, answered.status_code, refusal.status_code] == [200, 200, 401]
    for answer in (asked, answered, refusal):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["x-frame-options"] == "DENY"
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    assert "Retry-After" in answered.headers["access-control-expose-headers"]
    for answer in (strange, elsewhere):
        assert "access-control-allow-origin" not in answer.headers
    assert refused(elsewhere, 400)["type"] == "urn:problem:page-refused"
    assert "POST" in elsewhere.headers["access-control-allow-methods"]
    assert "evil" not in elsewhere.text


async def test_a_page_may_speak_the_dialects(registry: Registry) -> None:
    """Their own headers pass: the model of /invocations, and where the JSON of a binary body ends."""
    headers = "X-Model, Inference-Header-Content-Length"
    async with client_of(create_app(Settings(cors_origins=PAGE), registry)) as client:
        for path in ("/invocations", "/v2/models/and_gate/infer"):
            asked = await client.options(
                path, headers=PREFLIGHT | {"access-control-request-headers": headers}
            )
            answered = await client.post(path, headers={"origin": PAGE})

            assert asked.status_code == 200, asked.text
            assert "Inference-Header-Content-Length" in answered.headers["access-control-expose-headers"]


async def test_no_page_may_ask_by_default(client: httpx.AsyncClient) -> None:
    """No header of CORS at all, and a preflight is an OPTIONS that no route has."""
    for answer in (
        await client.options("/models/and_gate/predict", headers=PREFLIGHT),
        await client.post("/models/and_gate/predict", json=GATE, headers={"origin": PAGE}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("origins", "right"),
    [
        ("*", True),
        ("https://a.example,http://b.example:8080", True),
        ("https://a.example/", False),
        ("a.example", False),
        ("https://a.example, https://b.example", False),
        ("https://a.example,", False),
    ],
)
def test_origins_are_what_browsers_send(origins: str, right: bool) -> None:
    """A slash too many would never match: it ends the start instead."""
    if right:
        assert Settings(cors_origins=origins).cors_origins == origins
        return
    with pytest.raises(ValueError, match="origins, separated by commas"):
        Settings(cors_origins=origins)
