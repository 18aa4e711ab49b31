"""Inference by ONNX Runtime and OpenVINO, of the model that striate.onnx.export writes."""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from striate.bench.networks import Network, filled, images, sample
from striate.bench.work import Peer, Work


def onnxruntime(network: Network, batch_size: int) -> Work:
    """As many threads as the others have; the batch fixed, which lets it plan its memory."""
    import onnxruntime

    from striate.onnx import exporter

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.add_free_dimension_override_by_name("N", batch_size)
    model = exporter.to_bytes(filled(network), network.image)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x, _ = images(network, batch_size)

    def forward() -> Any:
        return session.run(None, {"input": x})[0]

    return Work(forward, sample(forward()))


def openvino(network: Network, batch_size: int, precision: str | None = "f32") -> Work:
    """With ``precision`` as its hint, or its own choice for None: bfloat16 where the CPU has it."""
    import openvino

    import striate.onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        striate.onnx.export(filled(network), path, network.image)
        core = openvino.Core()
        model = core.read_model(path)
        model.reshape([batch_size, *network.image])
        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        config["INFERENCE_NUM_THREADS"] = _threads()
        if precision is not None:
            config["INFERENCE_PRECISION_HINT"] = precision
        request = core.compile_model(model, "CPU", config).create_infer_request()
    x, _ = images(network, batch_size)

    def forward() -> Any:
        return request.infer({0: x}, share_inputs=True, share_outputs=True)[0]

    return Work(forward, sample(forward()))


def _threads() -> int:
    return int(os.environ["OMP_NUM_THREADS"])  # compare.py sets it


def peers(network: Network) -> dict[str, Peer]:
    """For inference; OpenVINO's own choice of precision is a peer of its own."""
    return {
        "onnxruntime": Peer(partial(onnxruntime, network)),
        "openvino": Peer(partial(openvino, network)),
        "openvino-bf16": Peer(partial(openvino, network, precision=None), tolerance=0.05),
    }
