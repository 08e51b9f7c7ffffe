"""The README and docs/dialects.md are true: their requests are sent to a real process.

The README's tables are those of the code.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from servers import ROOT, Server
from service.app import create_app
from service.manifest import Manifest
from service.models import MODELS
from service.settings import Settings

README = (ROOT / "README.md").read_text(encoding="utf-8")
DIALECTS = (ROOT / "docs/dialects.md").read_text(encoding="utf-8")
# A shell block that calls curl, and the JSON block that stands below it for its answer.
REQUESTS = re.findall(
    r"```(?:ba)?sh\n(curl .*?)```\n+(?:[^`]*?```json\n(.*?)```)?", README + DIALECTS, flags=re.DOTALL
)
# A client's own code.
PROGRAMS = re.findall(r"```python\n(.*?)```", DIALECTS, flags=re.DOTALL)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def test_the_readme_shows_requests_with_their_answers() -> None:
    """There is something to execute, answers included."""
    assert len(REQUESTS) >= 4
    assert sum(bool(answer) for _, answer in REQUESTS) >= 3


@pytest.mark.parametrize(("command", "answer"), REQUESTS)
def test_a_request_of_the_readme_has_the_answer_that_it_shows(
    server: Server, command: str, answer: str
) -> None:
    """The command is run as it is printed, but for the port; numbers agree to four decimals."""
    local = command.replace("http://127.0.0.1:8000", server.url)
    assert local != command
    if not answer:
        # curl ends with an error where a refusal comes that nobody promised.
        local = local.replace("curl ", "curl --fail ", 1)
    run = subprocess.run(["bash", "-c", local], cwd=ROOT, capture_output=True, text=True, check=True)

    given = json.loads(run.stdout)
    if answer:
        agree(given, json.loads(answer))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_of_the_documents_runs(server: Server, program: str) -> None:
    """As it is printed, but for the port; it prints what was answered."""
    local = program.replace("127.0.0.1:8000", server.url.removeprefix("http://"))
    assert local != program
    run = subprocess.run([sys.executable, "-c", local], capture_output=True, text=True, check=True)

    assert run.stdout.strip()


def agree(given: Any, shown: Any) -> None:
    """Assert that an answer is what was printed; an object that ends in `"...": "..."` is shown in part."""
    if isinstance(shown, dict):
        partly = shown.pop("...", None)
        assert partly or given.keys() == shown.keys()
        for key, value in shown.items():
            agree(given[key], value)
    elif isinstance(shown, list):
        assert len(given) == len(shown)
        for one, other in zip(given, shown, strict=True):
            agree(one, other)
    elif isinstance(shown, float):
        assert given == pytest.approx(shown, abs=1e-4)
    elif shown != "urn:request:...":
        assert given == shown


def test_every_model_stands_in_the_readme() -> None:
    """The table of models is the list of models."""
    for name in MODELS:
        assert f"| `{name}` |" in README


def test_every_route_stands_in_the_readme() -> None:
    """The table of routes is the OpenAPI document's, with the model's name generalised."""
    routes = {
        f"{method.upper()} {re.sub('^/models/(' + '|'.join(MODELS) + ')', '/models/{model}', path)}"
        for path, operations in create_app().api.openapi()["paths"].items()
        for method in operations
    }

    for route in routes:
        assert f"`{route}`" in README, route


def test_every_setting_stands_in_the_readme_with_its_default() -> None:
    """The table of settings is Settings."""
    for name, field in Settings.model_fields.items():
        assert f"| `--{name.replace('_', '-')}` | `{name.upper()}` | `{field.default}` |" in README


FIGURES = {
    "and_gate": {"accuracy": "accuracy", "log-loss": "log_loss"},
    "survival": {"AUC": "auc", "Brier": "brier"},
    "wine_type": {"accuracy": "accuracy", "log-loss": "log_loss"},
    "wine_quality": {"RMSE": "rmse", "within 0.5": "within_0.5"},
    "wine_grade": {"log-loss": "log_loss", "accuracy": "accuracy"},
}


@pytest.mark.parametrize("model", MODELS)
def test_the_figures_are_those_of_the_manifest(model: str) -> None:
    """Each figure in the table of models is the artifact's, beside the linear model's and the baseline's."""
    newest = max((ROOT / "artifacts" / model).iterdir(), key=lambda folder: int(folder.name))
    quality = Manifest.read(newest).quality
    shown = [
        f"{name} {quality.metrics[key].value:.3f}"
        f" ({quality.others['linear'][key].value:.3f}, {quality.baseline[key].value:.3f})"
        for name, key in FIGURES[model].items()
    ]
    line = next(line for line in README.splitlines() if line.startswith(f"| `{model}` |"))

    assert line.endswith(f"| {', '.join(shown)} |")
