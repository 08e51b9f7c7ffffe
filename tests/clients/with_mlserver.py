"""MLServer's codecs and `mlserver infer`, in an environment of their own: asks for rows, prints outputs.

    .venv-mlserver/bin/python tests/clients/with_mlserver.py URL < {"model": [{feature: value}, ...], ...}

Prints a list of [model, {output: [numbers, row-major]}], of tensors in JSON and in bytes.
"""

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from mlserver.codecs import PandasCodec
from mlserver.types import InferenceResponse


def ask(url: str, model: str, rows: list[dict[str, Any]], *options: str) -> dict[str, list[float]]:
    request = PandasCodec.encode_request(pd.DataFrame(rows), use_bytes=False)
    with TemporaryDirectory() as folder:
        asked, answered = Path(folder, "asked"), Path(folder, "answered")
        asked.write_text(request.model_dump_json() + "\n", encoding="utf-8")
        command = [str(Path(sys.executable).with_name("mlserver")), "infer", "--url", url.split("://")[1]]
        command += ["--model-name", model, "--input-data-path", str(asked), "--output-data-path"]
        subprocess.run([*command, str(answered), *options], check=True, capture_output=True)
        answer = InferenceResponse.model_validate_json(answered.read_text(encoding="utf-8"))
    return {output.name: list(output.data) for output in answer.outputs}


if __name__ == "__main__":
    print(
        json.dumps(
            [
                [model, ask(sys.argv[1], model, rows, *options)]
                for model, rows in json.load(sys.stdin).items()
                for options in ((), ("--binary-data",))
            ]
        )
    )
