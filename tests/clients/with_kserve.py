"""KServe's REST client, in an environment of its own: asks for rows, and prints the outputs.

    .venv-kserve/bin/python tests/clients/with_kserve.py URL < {"model": [[codes], ...], ...}

Prints a list of [model, {output: [numbers, row-major]}], one for each way of sending and of asking.
"""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput


async def ask(url: str, matrices: dict[str, Any]) -> list[Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_live(url)
    assert await client.is_server_ready(url)
    assert not await client.is_model_ready(url, "horse")
    found = []
    for model, matrix in matrices.items():
        assert await client.is_model_ready(url, model)
        array = np.array(matrix, np.float32)
        names: list[str] = []
        for sent_as_bytes, asked_as_bytes in ((False, False), (True, False), (False, True), (True, True)):
            x = InferInput("x", list(array.shape), "FP32")
            x.set_data_from_numpy(array, binary_data=sent_as_bytes)
            outputs = [RequestedOutput(name, {"binary_data": asked_as_bytes}) for name in names]
            request = InferRequest(model, [x], request_outputs=outputs or None)
            answer = await client.infer(url, request, model_name=model)
            names = [output.name for output in answer.outputs]
            numbers = {output.name: output.as_numpy().ravel().tolist() for output in answer.outputs}
            found.append([model, numbers])
    await client.close()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(sys.argv[1], json.load(sys.stdin)))))
