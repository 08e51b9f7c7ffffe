"""Who may ask for what."""

import logging
from pathlib import Path

import pytest
from keyrings import Keyring

from rows import PROBLEM, refused
from servers import client_of, refusal
from service import keys
from service.app import Service, create_app
from service.dialects import DIALECTS
from service.registry import Registry
from service.routes import Shortcuts
from service.security import OPEN, needed, presented
from service.settings import Settings

pytestmark = pytest.mark.anyio

GATE = {"instances": [{"x1": 1, "x2": 1}]}
LABELLED = GATE | {"targets": [1]}
GUARDED = ("GET", "/models"), ("GET", "/metrics"), ("GET", "/models/and_gate/card"), ("GET", "/nowhere")
DOCUMENTS = "/", "/docs", "/openapi.json", "/static-offline-docs/swagger-ui.css"


@pytest.fixture
def locked(ring: Keyring, registry: Registry) -> Service:
    """The service over arithmetic, with keys."""
    return create_app(Settings(api_keys_file=ring.file), registry)


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", "/models", "predict evaluate admin reader"),
        ("HEAD", "/models/and_gate", "predict evaluate admin reader"),
        ("GET", "/models/and_gate/versions/1", "predict evaluate admin reader"),
        ("POST", "/v2/repository/index", "predict evaluate admin reader"),
        ("GET", "/metrics", "predict evaluate admin reader"),
        ("GET", "/nowhere", "predict evaluate admin reader"),
        ("POST", "/models/and_gate/predict", "predict"),
        ("POST", "/models/and_gate/explain", "predict"),
        ("POST", "/models/and_gate/what-if", "predict"),
        ("POST", "/models/and_gate/versions/1/predict", "predict"),
        ("POST", "/models/and_gate/labels/stable/predict", "predict"),
        ("POST", "/v1/models/and_gate:predict", "predict"),
        ("POST", "/v2/models/and_gate/infer", "predict"),
        ("POST", "/invocations", "predict"),
        ("DELETE", "/models/and_gate", "predict"),
        ("POST", "/models/and_gate/evaluate", "evaluate"),
        ("POST", "/models/and_gate/versions/1/evaluate", "evaluate"),
        ("POST", "/models/and_gate/versions/1/evaluate%0A", "evaluate"),
        ("POST", "/models/and_gate/labels/stable/evaluate", "evaluate"),
        ("POST", "/admin/reload", "admin"),
        ("GET", "/admin/anything", "admin"),
    ],
)
async def test_a_key_may_do_what_its_scopes_hold_and_no_more(
    locked: Service, ring: Keyring, method: str, path: str, scopes: str
) -> None:
    """Of each route: 403 for every key without the scope, anything but 401 and 403 for one with it."""
    async with client_of(locked) as client:
        for name in (*keys.SCOPES, "reader"):
            answer = await client.request(method, path, headers=ring.bearer(name))

            if name in scopes.split():
                assert answer.status_code not in (401, 403), name
            elif method != "HEAD":
                asked = needed(method, path.replace("%0A", "\n"))
                assert answer.status_code == 403
                # Of a dialect in its own envelope.
                assert f"`{asked}`" in answer.text, name


async def test_a_key_is_answered_as_everybody_is_without_keys(locked: Service, ring: Keyring) -> None:
    """By either header; the scheme's case does not matter (RFC 9110, section 11.1)."""
    key = ring.key("predict")
    async with client_of(locked) as client:
        for headers in (
            {"authorization": f"Bearer {key}"},
            {"authorization": f"bearer {key}"},
            {"x-api-key": key},
            {"authorization": "Basic dXNlcjpwYXNz", "x-api-key": key},
        ):
            answer = await client.post("/models/and_gate/predict", json=GATE, headers=headers)

            assert answer.status_code == 200, headers


async def test_missing_and_wrong_keys_are_told_the_same(locked: Service, ring: Keyring) -> None:
    """401, the same bytes but for the request's id, whatever was sent, on every route but health."""
    key = ring.key("predict")
    wrong = [
        {},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": f"Basic {key}"},
        {"authorization": key},
        {"authorization": f"Bearer {key[:-1]}"},
        {"authorization": f"Bearer {key}x"},
        {"authorization": f"Bearer {key.upper()}"},
        {"authorization": f"Bearer {ring.entries[0].sha256}"},
        {"authorization": "Bearer wrong", "x-api-key": key},
        {"x-api-key": ""},
        {"x-api-key": f"Bearer {key}"},
    ]
    told = set()
    async with client_of(locked) as client:
        for headers in wrong:
            for method, path in (*GUARDED, ("POST", "/models/and_gate/predict"), ("GET", "/nowhere")):
                answer = await client.request(method, path, headers=headers)
                request_id = answer.headers.pop("x-request-id")

                refused(answer, 401)
                told.add((answer.text.replace(request_id, ""), str(sorted(answer.headers.items()))))

    assert len(told) == 1
    assert "('www-authenticate', 'Bearer')" in told.pop()[1]


async def test_health_is_open(locked: Service) -> None:
    """Whoever starts and stops the process has no key."""
    async with client_of(locked) as client:
        for path in ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/health/ready/")).status_code == 401
        assert (await client.get("/health/live%0A")).status_code == 401


async def test_an_empty_key_is_none_even_if_its_hash_stands_in_the_file(
    tmp_path: Path, registry: Registry
) -> None:
    """`printf '' | sha256sum` by mistake must not let in whoever sends nothing."""
    empty = keys.new("one", ["predict"])[1].model_copy(update={"sha256": keys.sha256(b"").hexdigest()})
    keys.write(tmp_path / "keys.json", [empty])
    async with client_of(create_app(Settings(api_keys_file=tmp_path / "keys.json"), registry)) as client:
        for headers in ({}, {"x-api-key": ""}, {"authorization": "Bearer "}):
            refused(await client.get("/models", headers=headers), 401)


async def test_two_keys_of_a_name_are_alive_at_a_time(tmp_path: Path, registry: Registry) -> None:
    """So a key is renewed without a gap."""
    two = [keys.new("laboratory", ["predict"]) for _ in range(2)]
    keys.write(tmp_path / "keys.json", [entry for _, entry in two])
    async with client_of(create_app(Settings(api_keys_file=tmp_path / "keys.json"), registry)) as client:
        for key, _ in two:
            answer = await client.post("/models/and_gate/predict", json=GATE, headers={"x-api-key": key})

            assert answer.status_code == 200


async def test_refusals_are_counted_by_their_route(locked: Service, ring: Keyring) -> None:
    """Operators see 401 and 403; what was typed stays unmatched."""
    async with client_of(locked) as client:
        await client.post("/models/and_gate/predict", json=GATE)
        await client.post("/models/and_gate/evaluate", json=LABELLED, headers=ring.bearer("predict"))
        await client.get("/MARKER")
        page = (await client.get("/metrics", headers=ring.bearer("reader"))).text

    assert 'method="POST",route="/models/and_gate/predict",status="401"} 1.0' in page
    assert 'method="POST",route="/models/and_gate/evaluate",status="403"} 1.0' in page
    assert 'method="GET",route="unmatched",status="401"} 1.0' in page
    assert "MARKER" not in page


async def test_the_document_says_where_a_key_is_needed(locked: Service, ring: Keyring) -> None:
    """A bearer token on every path but health, with 401 and 403 in its words; nothing without keys."""
    async with client_of(locked) as client:
        document = (await client.get("/openapi.json", headers=ring.bearer("reader"))).json()
    open_document = create_app(Settings()).api.openapi()

    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            opened = path in OPEN
            assert ("security" not in operation) == opened, path
            assert ("401" not in operation["responses"]) == opened
            worded = any(dialect.paths.fullmatch(path) for dialect in DIALECTS)
            media = "application/json" if worded else PROBLEM
            for code, response in operation["responses"].items():
                assert code < "400" or list(response["content"]) == [media], (path, code)
            without = open_document["paths"][path][method]
            assert not {"401", "403"} & without["responses"].keys()
            assert "security" not in without
    assert "securitySchemes" not in open_document["components"]


@pytest.mark.parametrize(
    ("host", "locked_up", "warned"),
    [
        ("127.0.0.1", False, False),
        ("127.1.2.3", False, False),
        ("::1", False, False),
        ("localhost", False, False),
        ("0.0.0.0", False, True),
        ("::", False, True),
        ("service.example", False, True),
        ("0.0.0.0", True, False),
    ],
)
async def test_a_service_that_is_open_to_others_says_so(
    ring: Keyring,
    registry: Registry,
    host: str,
    locked_up: bool,
    warned: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A warning when it starts beyond loopback and nobody needs a key."""
    settings = Settings(host=host, api_keys_file=ring.file if locked_up else None)
    async with client_of(create_app(settings, registry)):
        pass

    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert any("API_KEYS_FILE" in line for line in said) == warned


async def test_the_documents_need_no_key(locked: Service) -> None:
    """A browser sends a key only from the page that asks for it; posting there needs one all the same."""
    async with client_of(locked) as client:
        for path in DOCUMENTS:
            assert (await client.get(path)).status_code in (200, 307), path
            refused(await client.post(path), 401)


def test_nothing_stands_before_the_routes_that_is_not_asked_for(tmp_path: Path) -> None:
    """Without keys, rates and origins a request meets the limits, and then the shortcuts at once."""
    app = create_app(Settings())

    assert isinstance(app.app.app, Shortcuts)


def test_a_header_holds_one_key() -> None:
    """The bearer token counts where both are sent."""
    assert presented([(b"x-api-key", b"other"), (b"authorization", b"Bearer one")]) == b"one"
    assert presented([(b"authorization", b"Bearer one"), (b"x-api-key", b"other")]) == b"one"


@pytest.mark.parametrize("content", [None, "MARKER", '[{"MARKER": 1}]'])
def test_a_file_of_keys_that_cannot_be_used_ends_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    """Without a word of the file: nobody is served by mistake."""
    if content is not None:
        (tmp_path / "keys.json").write_text(content)
    line = refusal(capsys, "--api-keys-file", str(tmp_path / "keys.json"))

    assert line.startswith("error: the file of keys ")
    assert "MARKER" not in line


@pytest.mark.parametrize(
    "option", ["--rate-limit=often", "--rate-limit-storage=mongodb://:MARKER@host", "--cors-origins=MARKER"]
)
def test_a_wrong_setting_ends_the_start_with_its_name(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """An address may hold a password, which is not said."""
    line = refusal(capsys, option)

    assert line.startswith(f"error: {option[2 : option.index('=')].replace('-', '_')}: ")
    assert "MARKER" not in line
