"""What is measured: each work has its peers, Striate first.

Peers are imported inside their functions, so that each process holds only its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from striate.bench import alexnet, lenet5
from striate.bench.conv import CONV
from striate.bench.cuda import works as cuda
from striate.bench.gemm import GEMM
from striate.bench.pipeline import PIPELINE
from striate.bench.work import Peer

WORKS: dict[str, Mapping[str, Peer]] = {
    "lenet5 --train": lenet5.TRAIN,
    "lenet5 --infer": lenet5.INFER,
    "alexnet --train": alexnet.TRAIN,
    "alexnet --infer": alexnet.INFER,
    "conv": CONV,
    "gemm": GEMM,
    "pipeline": PIPELINE,
    **cuda.WORKS,
}


def module(peer: str) -> str:
    """What a peer imports: "openvino-bf16" is a way to use openvino, "torch-graph" to use torch."""
    return peer.split("-")[0]
