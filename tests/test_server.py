"""The service as operators run it: a real process, real sockets, the committed artifacts."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from rows import document
from servers import ROOT, TIMEOUT_S, Server, eventually, publish
from service.actions import NAMES
from service.models import MODELS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def test_it_answers_for_every_model(server: Server) -> None:
    """Every model does all it can be asked to with its example through a real socket, and has a card."""
    with httpx.Client(base_url=server.url) as client:
        assert client.get("/health/ready").status_code == 200
        for name, spec in MODELS.items():
            for action in NAMES:
                body = document(spec, spec.example, action=action)

                assert client.post(f"/models/{name}/{action}", json=body).status_code == 200
            card = client.get(f"/models/{name}/card").json()
            for drawing in card["drawings"]:
                assert client.get(drawing["url"]).status_code == 200


def test_it_says_which_device_it_uses(server: Server) -> None:
    """The device stands in /models and in the log."""
    assert httpx.get(f"{server.url}/models").json()["device"] == "cpu"
    assert any("device: cpu" in line for line in server.log)


VARIED = {
    "and_gate": "x1",
    "survival": "age",
    "wine_type": "alcohol",
    "wine_quality": "ph",
    "wine_grade": "ph",
}


def varied(model: str, count: int) -> list[dict[str, object]]:
    """The example of a model, so many times, while one feature runs from end to end."""
    spec = MODELS[model]
    feature = next(one for one in spec.features if one.name == VARIED[model])
    values = np.linspace(feature.low or 0, feature.high or 0, count).tolist()
    whole = feature.kind == "count"
    return [dict(spec.example) | {feature.name: round(value) if whole else value} for value in values]


def numbers(answer: object) -> list[float]:
    """Every real number in an answer but the percentile, in order."""
    if isinstance(answer, dict):
        parts = (part for key, part in answer.items() if key != "distance_percentile")
        return [number for part in parts for number in numbers(part)]
    return [answer] if isinstance(answer, float) else []


@pytest.mark.parametrize("model", MODELS)
def test_a_row_gets_the_same_numbers_in_any_company(server: Server, model: str) -> None:
    """200 different rows one after another, 32 at a time, and all in one request: alike to 2e-6.

    A wine to 1e-5: of a kernel machine a lone row is rounded otherwise.
    """
    rows = varied(model, 200)
    alone = asyncio.run(answers(server, model, rows, limit=1))

    assert len({str(answer) for answer in alone}) >= (2 if model == "and_gate" else 50)
    for others in in_company(server, model, rows):
        assert np.abs(np.subtract(others, alone)).max() < (1e-5 if model.startswith("wine") else 2e-6)


@pytest.mark.parametrize("model", MODELS)
def test_rows_get_the_same_bits_in_any_company(server: Server, model: str) -> None:
    """Eight times the example, which stands in the table, by themselves and behind 632 rows of their call.

    oneDNN would round the last two of the eight otherwise than the first six.
    """
    eight = [dict(MODELS[model].example)] * 8
    rows = [*varied(model, 632), *eight]
    url = f"{server.url}/models/{model}/predict"

    alone, beside = (
        httpx.post(url, json={"instances": some}, timeout=30).json()["predictions"] for some in (eight, rows)
    )

    assert alone == [alone[0]] * 8
    assert beside[-8:] == alone


@pytest.mark.parametrize("model", ["wine_quality", "wine_grade"])
def test_a_training_row_gets_the_same_numbers_in_any_company(server: Server, model: str) -> None:
    """Alone, too, though its distance to itself is a difference of large numbers: alike to 1e-4."""
    table = pd.read_csv(ROOT / "training/data/winequality-red.csv", sep=";", nrows=200)
    *measured, _ = MODELS[model].features
    columns = table[[feature.source for feature in measured]].set_axis([one.name for one in measured], axis=1)
    rows = columns.assign(type="red").to_dict("records")
    alone = asyncio.run(answers(server, model, rows, limit=1))

    assert len({str(answer) for answer in alone}) > 150
    for others in in_company(server, model, rows):
        assert np.abs(np.subtract(others, alone)).max() < 1e-4


def in_company(server: Server, model: str, rows: Sequence[object]) -> list[list[list[float]]]:
    """What rows are answered that are sent 32 at a time, and in one request."""
    ways = ({"limit": 32}, {"limit": 1, "rows_each": len(rows)})
    return [asyncio.run(answers(server, model, rows, **way)) for way in ways]


async def answers(
    server: Server, model: str, rows: Sequence[object], limit: int, rows_each: int = 1
) -> list[list[float]]:
    """The numbers that rows are answered with, `limit` requests at a time, each of so many rows."""
    limits = httpx.Limits(max_connections=limit)
    async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=30) as client:

        async def some(instances: Sequence[object]) -> list[list[float]]:
            response = await client.post(f"/models/{model}/predict", json={"instances": instances})
            return [numbers(answer) for answer in response.json()["predictions"]]

        parts = [rows[start : start + rows_each] for start in range(0, len(rows), rows_each)]
        return [answer for part in await asyncio.gather(*map(some, parts)) for answer in part]


def test_no_server_header_is_sent(server: Server) -> None:
    """Nobody needs to know which server this is."""
    assert "server" not in httpx.get(f"{server.url}/health/live").headers


def test_bytes_that_are_not_http_do_no_harm(server: Server) -> None:
    """The server says 400 and goes on, and the log does not repeat them."""
    port = int(server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"MARKER MARKER MARKER\r\n\r\n")
        assert b" 400 " in connection.recv(1000)

    assert httpx.get(f"{server.url}/health/live").status_code == 200


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_a_success(how: signal.Signals) -> None:
    """SIGTERM and SIGINT end the process with exit code 0, and nothing in the log is an error."""
    with Server("--models", "and_gate") as server:
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
        assert server.stop(how) == 0

    assert "Traceback" not in "".join(server.log)
    assert "ERROR" not in "".join(server.log)


def test_the_log_of_a_process_holds_no_value() -> None:
    """What reaches stderr of the real process at debug level repeats nothing of a request."""
    wrong = {"instances": [{"age": "MARKER", "MARKER": 1}]}
    with Server("--models", "survival", "--log-level", "debug") as server:
        url = f"{server.url}/models/survival/predict"
        httpx.post(url, json=wrong, headers={"MARKER": "MARKER"})
        httpx.post(f"{url}?MARKER=MARKER", json=wrong)
        httpx.post(f"{url}?coverage=MARKER", content="age\nMARKER", headers={"content-type": "text/csv"})
        httpx.get(f"{server.url}/models/survival/card/MARKER.png")
        httpx.get(f"{server.url}/MARKER")
        websocket = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13"}
        httpx.get(f"{server.url}/MARKER", headers=websocket | {"sec-websocket-key": "MARKER"})
        server.stop()

    text = "".join(server.log)
    assert "POST /models/survival/predict 422" in text
    assert "POST /models/survival/predict 400" in text
    assert "GET /models/survival/card/{file} 404" in text
    assert "MARKER" not in text


def test_a_crash_says_where_it_happened(tmp_path: Path) -> None:
    """What ends the process beneath Python leaves its place in the log, and no value."""
    shutil.copytree(ROOT / "artifacts/and_gate", tmp_path / "and_gate")
    with Server("--artifacts", str(tmp_path)) as server:
        assert server.stop(signal.SIGABRT) == -signal.SIGABRT

    text = "".join(server.log)
    assert "Fatal Python error: Aborted" in text
    assert "uvicorn/server.py" in text


def test_the_artifacts_folder_can_be_chosen(tmp_path: Path) -> None:
    """Another folder, another set of models; the log says what is missing in it."""
    shutil.copytree(ROOT / "artifacts/and_gate", tmp_path / "and_gate")
    with Server("--artifacts", str(tmp_path)) as server:
        models = httpx.get(f"{server.url}/models").json()["models"]
        assert httpx.get(f"{server.url}/health/ready").status_code == 503
        server.stop()

    assert [model["name"] for model in models if model["ready"]] == ["and_gate"]
    assert any("not ready: survival" in line for line in server.log)


def test_workers_answer_from_several_processes_and_count_together() -> None:
    """--workers 2: whoever is asked for the metrics has counted every request; it stops with 0."""
    body = {"instances": [dict(MODELS["and_gate"].example)] * 3}
    with Server("--models", "and_gate", workers=2) as server:
        for _ in range(40):  # each on a connection of its own, which either process may accept
            assert httpx.post(f"{server.url}/models/and_gate/predict", json=body).status_code == 200
        pages = [httpx.get(f"{server.url}/metrics").text for _ in range(10)]
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        assert server.stop() == 0

    assert len(children) >= 2
    for page in pages:
        assert 'http_requests_total{method="POST",route="/models/and_gate/predict",status="200"} 40.0' in page
        assert re.search(r'model_rows_total{action="predict",model="and_gate",version="\d+"} 120.0', page)


def test_a_reload_reaches_every_worker(tmp_path: Path) -> None:
    """Whichever is asked tells the others; nobody polls."""
    home = tmp_path / "and_gate"
    shutil.copytree(ROOT / "artifacts/and_gate", home)
    newest = max(int(path.name) for path in home.iterdir())
    body = {"instances": [dict(MODELS["and_gate"].example)]}
    with Server("--artifacts", str(tmp_path), "--model-poll-s", "0", workers=2) as server:

        def versions() -> set[int]:
            url = f"{server.url}/models/and_gate/predict"
            return {httpx.post(url, json=body).json()["version"] for _ in range(20)}

        publish(tmp_path, newest + 1)
        assert versions() == {newest}
        httpx.post(f"{server.url}/admin/reload")
        eventually(lambda: versions() == {newest + 1})
        assert server.stop() == 0


def test_a_reload_that_comes_too_early_ends_nothing(tmp_path: Path) -> None:
    """SIGHUP from the start of the process on, until it answers."""
    shutil.copytree(ROOT / "artifacts/and_gate", tmp_path / "and_gate")
    command = [sys.executable, "-m", "service", "--port", "0", "--artifacts", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        for line in process.stderr:
            process.send_signal(signal.SIGHUP)
            if "startup complete" in line:
                break
        process.send_signal(signal.SIGTERM)

        assert process.wait(TIMEOUT_S) == 0


def test_help_shows_every_setting_and_an_example() -> None:
    """python -m service --help."""
    shown = subprocess.run(
        [sys.executable, "-m", "service", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert "Example: python -m service" in " ".join(shown.split())
    for option in ("--host", "--port", "--workers", "--artifacts", "--device"):
        assert option in shown


def test_a_wrong_setting_ends_the_start_with_its_name() -> None:
    """One line and exit code 2, no traceback."""
    ended = subprocess.run(
        [sys.executable, "-m", "service"],
        cwd=ROOT,
        env={**os.environ, "PORT": "eighty"},
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 2
    assert ended.stderr.startswith("error: port: ")
    assert len(ended.stderr.splitlines()) == 1


def test_a_gpu_that_is_not_there_ends_the_start_with_a_reason(tmp_path: Path) -> None:
    """DEVICE=gpu insists; on a machine without one the process says so and exits."""
    ended = subprocess.run(
        [sys.executable, "-m", "service", "--port", "0", "--artifacts", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "DEVICE": "gpu", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

    assert ended.returncode != 0
    assert "TensorFlow sees no GPU" in ended.stderr
