"""What is measured on a GPU: each work has its peers, Striate first."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from striate.bench import alexnet, lenet5
from striate.bench.cuda import networks, torch_peer
from striate.bench.cuda.conv import CONV
from striate.bench.cuda.gemm import GEMM
from striate.bench.cuda.memory import MEMORY
from striate.bench.networks import Network
from striate.bench.torch_peer import STEPS
from striate.bench.work import Peer


def _steps(network: Network) -> Mapping[str, Peer]:
    def torch(kind: str, variants: Any = STEPS) -> Any:
        return Peer(partial(torch_peer.train, network, kind=kind), variants)

    return {
        "striate": Peer(partial(networks.recorded, network)),
        "striate-eager": Peer(partial(networks.eager, network)),
        "torch": torch("eager"),
        "torch-graph": torch("graph"),
        "torch-compile": torch("compile", STEPS[1::2]),  # to compile takes long: fused alone
    }


WORKS: dict[str, Mapping[str, Peer]] = {
    "lenet5 on cuda": _steps(lenet5.NETWORK),
    "alexnet on cuda": _steps(alexnet.NETWORK),
    "conv on cuda": CONV,
    "gemm on cuda": GEMM,
    "memory on cuda": MEMORY,
}
