"""Compares the dialects on many rows: native JSON and CSV, the Open Inference Protocol in JSON and in bytes.

    scripts/bench --dialects                        every model, a minute and a half
    python -m benchmarks.dialects --models survival --rounds 5

They take turns in every round, and all are answered by one service on one core; the clients have the other.
Beside them stands what the graph alone takes for the same rows, in calls of two sizes: no form is quicker.
Ratios are medians of the rounds' ratios to native JSON. Each form's answer is checked.
"""

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cases import instances_of, newest
from benchmarks.process import Server
from service.features import to_matrix
from service.inference import CALL_ROWS
from service.models import MODELS
from service.spec import ModelSpec

PORT = 9150
CLOSE = 1e-4
JSON, CSV, V2, BINARY, ONE = "native JSON", "native CSV", "OIP JSON", "OIP binary", "OIP binary, one output"


class Form(NamedTuple):
    """What is posted, and the numbers of the model's explained output in an answer."""

    path: str
    body: bytes
    headers: dict[str, str]
    numbers: Callable[[bytes, Any], Any]


def main() -> None:
    """Start the service, measure every model, print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rows", type=int, default=6497, help="of one request")
    parser.add_argument("--clients", type=int, default=4, help="at a time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1, help="of each form in each round")
    parser.add_argument("--graph", choices=MODELS, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path("runs/bench"), help="folder of the server's log")
    arguments = parser.parse_args()
    if arguments.graph:
        graph(MODELS[arguments.graph], arguments.rows)
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {1})
    ready = f"http://127.0.0.1:{PORT}/health/ready"
    print(f"| {arguments.rows:,} rows | requests/s | of native JSON | ms |\n|---|---|---|---|")
    with Server(["service", "--port", str(PORT)], ready, [0], {}, arguments.output / "dialects.log"):
        for name in arguments.models:
            measure(MODELS[name], arguments)


def measure(spec: ModelSpec, arguments: argparse.Namespace) -> None:
    """Print what each form gives, and the graph alone."""
    forms = forms_of(spec, instances_of(spec, arguments.rows))
    expected = None
    for form in forms.values():
        found = form.numbers(*post(connection(), form))
        expected = found if expected is None else expected
        np.testing.assert_allclose(found, expected, atol=CLOSE)
    rounds = [
        {name: rate(form, arguments.clients, arguments.seconds) for name, form in forms.items()}
        for _ in range(arguments.rounds)
    ]
    for name in forms:
        per_second = statistics.median(one[name] for one in rounds)
        ratio = statistics.median(one[name] / one[JSON] for one in rounds)
        line = f"| `{spec.name}` {name} | {per_second:.1f} | {ratio:.1f} | {1000 / per_second:.1f} |"
        print(line, flush=True)
    command = ["taskset", "-c", "0", sys.executable, "-m", "benchmarks.dialects", "--graph", spec.name]
    command += ["--rows", str(arguments.rows)]
    alone = subprocess.run(command, check=True, capture_output=True, text=True)
    print(alone.stdout, end="", flush=True)


def forms_of(spec: ModelSpec, instances: Sequence[dict[str, Any]]) -> dict[str, Form]:
    """The same rows in each form."""
    array = to_matrix(spec.row, [spec.row.model_validate(one) for one in instances])
    lines = [",".join(spec.example), *(",".join(map(str, one.values())) for one in instances)]
    native, infer = f"/models/{spec.name}/predict", f"/v2/models/{spec.name}/infer"
    as_json, every = {"content-type": "application/json"}, {"parameters": {"binary_data_output": True}}
    x: dict[str, Any] = {"name": "x", "shape": list(array.shape), "datatype": "FP32"}
    raw = x | {"parameters": {"binary_data_size": array.nbytes}}
    one = {"outputs": [{"name": spec.explained}]}

    def of_native(answer: bytes, _: Any) -> Any:
        return [row[spec.explained] for row in json.loads(answer)["predictions"]]

    def of_v2(answer: bytes, size: Any) -> Any:
        end = int(size or len(answer))
        for output in json.loads(answer[:end])["outputs"]:
            taken = output.get("parameters", {}).get("binary_data_size", 0)
            if output["name"] == spec.explained:
                return output["data"] if "data" in output else np.frombuffer(answer[end : end + taken], "<f4")
            end += taken
        raise AssertionError("the output is not there")

    def binary(**fields: Any) -> Form:
        head = json.dumps({"inputs": [raw]} | every | fields).encode()
        return Form(infer, head + array.tobytes(), {"inference-header-content-length": str(len(head))}, of_v2)

    return {
        JSON: Form(native, json.dumps({"instances": list(instances)}).encode(), as_json, of_native),
        CSV: Form(native, "\n".join(lines).encode(), {"content-type": "text/csv"}, of_native),
        V2: Form(infer, json.dumps({"inputs": [x | {"data": array.tolist()}]}).encode(), as_json, of_v2),
        BINARY: binary(),
        ONE: binary(**one),
    }


def connection() -> http.client.HTTPConnection:
    """A client's."""
    return http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)


def post(client: http.client.HTTPConnection, form: Form) -> tuple[bytes, str | None]:
    """The answer, and how many bytes of it are JSON where others follow."""
    client.request("POST", form.path, form.body, form.headers)
    response = client.getresponse()
    body = response.read()
    assert response.status == 200, body[:1000]
    return body, response.headers["inference-header-content-length"]


def rate(form: Form, clients: int, seconds: float) -> float:
    """Requests per second that so many clients get answered, each as soon as it has its answer."""
    warm = connection()
    post(warm, form)
    began = time.perf_counter()

    def asking(_: int) -> int:
        client, count = connection(), 0
        while time.perf_counter() - began < seconds:
            post(client, form)
            count += 1
        return count

    with ThreadPoolExecutor(clients) as pool:
        answered = sum(pool.map(asking, range(clients)))
    return answered / (time.perf_counter() - began)


def graph(spec: ModelSpec, rows: int) -> None:
    """Print what the graph takes for the rows, on this process's core and as the service calls it."""
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
    from service.servable import SavedModelServable, keep_buffers

    keep_buffers()
    servable = SavedModelServable(newest(spec.name), spec)
    array = to_matrix(spec.row, [spec.row.model_validate(one) for one in instances_of(spec, rows)])
    times = []
    for _ in range(7):
        began = time.perf_counter()
        for start in range(0, rows, CALL_ROWS):
            servable.predict(array[start : start + CALL_ROWS])
        times.append(time.perf_counter() - began)
    print(f"| `{spec.name}` its graph alone | | | {statistics.median(times) * 1e3:.1f} |")


if __name__ == "__main__":
    main()
