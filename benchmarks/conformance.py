"""Whether the service does what its OpenAPI document says, by schemathesis.

    python -m benchmarks.conformance --url http://127.0.0.1:8000 --examples 10

About a minute and a half, 13,000 requests: right and wrong ones for each operation, the wrong ones by rule
(every bound, every type, every absent field, every undeclared method) and by chance. All of schemathesis's
checks hold but `ignored_auth`: a document may offer keys that nobody set up. What benchmarks/hooks.py lets
pass is what no JSON Schema can say.
"""

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.mutations import MARKER

ROOT = Path(__file__).parent.parent
EXCLUDED = "ignored_auth"


def main() -> None:
    """Measure a service that runs, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--examples", type=int, default=10, help="by chance, of each operation")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.url, arguments.examples, arguments.seed), indent=2))


def measure(url: str, examples: int = 10, seed: int = 0) -> dict[str, object]:
    """Run schemathesis; what it found stands under `failures`, each with a curl command."""
    with TemporaryDirectory() as folder:
        report, tally = Path(folder, "report.json"), Path(folder, "tally.json")
        command = [
            sys.executable, "-m", "schemathesis.cli", "--no-color", "run", f"{url}/openapi.json",
            "--checks", "all", "--exclude-checks", EXCLUDED, "--mode", "all", "--max-examples", str(examples),
            "--seed", str(seed), "--continue-on-failure", "--no-shrink", "--generation-database", "none",
            "--header", f"X-{MARKER}: {MARKER}", "--warnings", "off",
            "--report", "json", "--report-json-path", str(report),
        ]  # fmt: skip
        told = {
            "SCHEMATHESIS_HOOKS": "benchmarks.hooks", "MARKER": MARKER, "TALLY": str(tally),
            "PYTHONPATH": str(ROOT), "EXAMPLES": json.dumps(places(url)),
        }  # fmt: skip
        # It leaves a folder where it runs.
        ended = subprocess.run(command, env=os.environ | told, cwd=folder, capture_output=True, text=True)
        if not report.exists() or not tally.exists():
            raise AssertionError(f"schemathesis did not come to an end: {ended.stdout[-2000:]}{ended.stderr}")
        found, statuses = json.loads(report.read_text()), json.loads(tally.read_text())
    leaks = statuses.pop("leaks", 0)
    failures = [json.dumps(one) for one in found["failures"] + found["errors"]]
    if not found["complete"] or found["operations"]["tested"] < found["operations"]["total"]:
        failures.append(f"not all was tested: {found['stop_reason']}, {found['operations']}")
    return {
        "operations": found["operations"]["tested"],
        "requests": sum(statuses.values()),
        "statuses": dict(sorted(statuses.items())),
        "seconds": round(found["running_time"], 1),
        "leaks": leaks,
        "failures": failures + (["an answer held the marker"] if leaks else []),
    }


def places(url: str) -> dict[str, dict[str, str]]:
    """Of each model a version, a label and a drawing that it has."""
    return {
        model["name"]: {
            "version": str(model["version"]),
            "label": next(iter(model["labels"]), "stable"),
            "file": _got(f"{url}{model['card_url']}")["drawings"][0]["url"].rpartition("/")[2],
        }
        for model in _got(f"{url}/models")["models"]
    }


def _got(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


if __name__ == "__main__":
    main()
