"""The documents are true: what they promise is tested."""

import ast
import re

import pytest

from servers import ROOT

SECURITY = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
# Below the table of who is who, each line of a table is a promise and what shows it.
LINES = [line for line in SECURITY.split("## Values of requests")[1].splitlines() if line.startswith("|")]
ROWS = [line.strip("| ").split(" | ") for line in LINES if not line.startswith(("| promised", "|---"))]


def known(path: str) -> set[str]:
    """The tests of a file as pytest names them, without parameters."""
    found = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(f"{path}::{node.name}")
        elif isinstance(node, ast.ClassDef):
            found |= {f"{path}::{node.name}::{one.name}" for one in node.body if hasattr(one, "name")}
    return found


@pytest.mark.parametrize(("promise", "shown"), ROWS)
def test_a_promise_of_the_threat_model_has_a_test_that_shows_it(promise: str, shown: str) -> None:
    """Each row of its tables names tests that are there."""
    named = re.findall(r"`([^`]+)`", shown)

    assert named, f"{promise} is shown by nothing"
    for test in named:
        assert test in known(test.split("::")[0])


def test_there_are_promises() -> None:
    """The tables are found, and each row has two columns."""
    assert len(ROWS) > 20
    assert all(len(row) == 2 for row in ROWS)
