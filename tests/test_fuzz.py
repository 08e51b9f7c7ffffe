"""2,000 bodies that no client should send: no 5xx, and nothing of them in an answer or in the log."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from servers import ROOT
from service.actions import NAMES
from service.app import create_app, load
from service.models import MODELS
from service.settings import Settings
from service.telemetry import Telemetry

pytestmark = pytest.mark.slow

MARKER = "zqmarkerqz"
BODIES = 2_000

text = st.one_of(st.just(MARKER), st.text(max_size=8).map(lambda end: MARKER + end), st.text(max_size=12))
scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**300, max_value=10**310),
    st.floats(),
    text,
)
anything = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
)


def mostly(usual: st.SearchStrategy[Any], strange: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Four times of five the usual; `usual | strange` would weigh every branch inside the two alike."""
    return st.sampled_from([usual] * 4 + [strange]).flatmap(lambda chosen: chosen)


def options(model: str, action: str) -> st.SearchStrategy[dict[str, Any]]:
    """Those that the action needs, with some of them wrong and some undefined."""
    right = {"feature": next(iter(MODELS[model].example)), "points": 3} if action == "what-if" else {}
    names = mostly(st.sampled_from(["coverage", "feature", "points"]), text)
    wrong = st.dictionaries(names, mostly(st.sampled_from([0.8, 0.95]), anything), max_size=2)
    return mostly(st.just(right), wrong.map(lambda some: right | some))


@st.composite
def documents(draw: st.DrawFn, model: str, action: str) -> Any:
    """An example body with some of its parts replaced, dropped, doubled or added to."""
    spec = MODELS[model]
    names = [feature.name for feature in spec.features]
    wrong = st.dictionaries(mostly(st.sampled_from(names), text), anything, max_size=3)
    row = wrong.map(lambda fields: dict(spec.example) | fields)
    rows = draw(mostly(st.lists(mostly(row, anything), min_size=1, max_size=4), anything))
    document: dict[str, Any] = {"instances": rows}
    if action == "evaluate":
        target = mostly(st.just(spec.example_target), anything)
        size = len(rows) if isinstance(rows, list) else 1
        document["targets"] = draw(mostly(st.lists(target, min_size=size, max_size=size), anything))
    if parameters := draw(options(model, action)):
        document["parameters"] = parameters
    return document | draw(mostly(st.just({}), st.dictionaries(text, anything, max_size=1)))


@st.composite
def tables(draw: st.DrawFn, model: str) -> str:
    """A CSV text of declared and undeclared headings and any cells."""
    spec = MODELS[model]
    headings = mostly(st.sampled_from([*spec.source_columns, *spec.example, spec.target.name]), text)
    header = draw(mostly(st.just(list(spec.example)), st.lists(headings, max_size=20)))
    cells = st.lists(scalar.map(str), min_size=max(len(header) - 1, 0), max_size=len(header) + 1)
    lines = draw(st.lists(cells, max_size=3))
    return "\n".join(",".join(line) for line in [header, *lines])


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, bytes, str]:
    """A path with a query, a body and its media type."""
    model = draw(st.sampled_from(list(MODELS)))
    action = draw(st.sampled_from(NAMES))
    path = f"/models/{model}/{action}"
    document = documents(model, action)
    json_text = mostly(document, anything).map(json.dumps).map(str.encode)
    csv_text = tables(model).map(lambda table: table.encode("utf-8", "surrogatepass"))
    as_json = st.tuples(json_text, st.just("application/json"))
    as_csv = st.tuples(csv_text, st.just("text/csv"))
    raw = st.tuples(st.binary(max_size=200), st.sampled_from(["application/json", "text/csv", MARKER]))
    body, media = draw(mostly(as_json, as_csv | raw))
    beside = options(model, action) if media == "text/csv" else st.just({})
    query = draw(mostly(beside, st.dictionaries(text, text, max_size=1)))
    return f"{path}?{urlencode(query, errors='replace')}", body, media


class Lines(logging.Handler):
    """Keeps every log record of the service, whole; the client logs the addresses that it asks for."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(logging.DEBUG)
        self.telemetry = telemetry
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s %(exc_text)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith(("httpx", "httpcore")):
            self.lines.append(self.format(record))

    def take(self) -> list[str]:
        """The records so far, with what the telemetry held back."""
        self.telemetry.flush()
        lines, self.lines = self.lines, []
        return lines


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[asyncio.Runner, httpx.AsyncClient, Lines]]:
    """The service over the committed artifacts, on an event loop of its own, with its log."""
    artifacts = Settings(artifacts=ROOT / "artifacts", aip_predict_route="/v1/vertex")
    app = create_app(artifacts, load(artifacts))
    lines = Lines(app.api.state.telemetry)
    root = logging.getLogger()
    level = root.level
    root.addHandler(lines)
    root.setLevel(logging.DEBUG)
    with asyncio.Runner() as runner:
        context = app.api.router.lifespan_context(app.api)
        runner.run(context.__aenter__())
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")
        yield runner, client, lines
        runner.run(client.aclose())
        runner.run(context.__aexit__(None, None, None))
    root.removeHandler(lines)
    root.setLevel(level)


def test_no_body_breaks_the_service_or_leaves_a_trace(
    service: tuple[asyncio.Runner, httpx.AsyncClient, Lines],
) -> None:
    """Any body gets an answer or a clear problem; its marker is neither answered nor logged."""
    runner, client, log = service
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=BODIES,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(request=requests())
    def is_answered(request: tuple[str, bytes, str]) -> None:
        path, body, media = request
        log.take()

        response = runner.run(client.post(path, content=body, headers={"content-type": media}))

        statuses[response.status_code] += 1
        assert response.status_code in (200, 400, 413, 415, 422)
        if response.status_code == 422:
            assert response.json()["errors"], "a refusal must say where"
        assert MARKER not in response.text
        assert MARKER not in str(response.headers)
        lines = log.take()
        assert lines
        assert MARKER not in "\n".join(lines)
        json.loads(response.content, parse_constant=pytest.fail)

    is_answered()

    assert statuses.total() >= BODIES
    assert statuses[422] > BODIES / 4, "the bodies were refused at the door, and never judged"
    assert statuses[200] > BODIES / 20, "no body was right"
