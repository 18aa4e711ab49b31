"""What PyTorch does for the benchmarks on a GPU, run on the CPU as far as it goes."""

from __future__ import annotations

import math
from typing import Any

import pytest

from striate.bench import compare, conv, gemm, networks
from striate.bench.cuda import command, gpu, torch_peer, works
from striate.bench.cuda import networks as cuda_networks
from striate.bench.lenet5 import NETWORK as LENET5

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("precision", gpu.PRECISIONS)
def test_torch_takes_the_same_steps(precision: str) -> None:
    for layout, sgd in (("NCHW", "foreach"), ("channels_last", "fused")):
        work = torch_peer.train(LENET5, 3, precision, "cpu", "eager", layout, sgd)
        expected = networks.train(LENET5, 3).check
        shared = len(expected) - 1
        tolerance = gpu.TOLERANCES[precision]
        compare.check("lenet5", "torch", work.check[:shared], expected[:shared], tolerance)
        losses = work.check[shared:]
        assert len(losses) == cuda_networks.LOSSES
        compare.check("lenet5", "torch", [losses[1]], expected[shared:], tolerance)
        assert work.time is None
        assert math.isfinite(work.step())
    assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")


@pytest.mark.parametrize("precision", gpu.PRECISIONS)
def test_torch_multiplies_the_same(precision: str) -> None:
    options = {"precision": precision, "device": "cpu"}
    for trans_a, trans_b in command._ORIENTATIONS:
        arguments = {"size": 48, "trans_a": trans_a, "trans_b": trans_b}
        ours = works.WORKS["gemm on cuda"]["torch"].make(**arguments, **options)
        expected = gemm.by_striate(**arguments).check
        compare.check("gemm", "torch", ours.check, expected, gpu.TOLERANCES[precision])
    make = works.WORKS["conv on cuda"]["torch"].make
    for kind in conv.PASSES:
        for layout in ("NCHW", "channels_last"):
            facts = make(layer="conv5", kind=kind, batch_size=1, layout=layout, **options).facts
            assert facts["rms_error"] < (1e-2 if precision == "bf16" else 1e-5)


def test_torch_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for the graph, which the CPU does not have."""
    runs: list[Any] = []

    class Stand:
        def __init__(self, *_: Any) -> None:
            pass

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

        def wait_stream(self, other: Any) -> None:
            pass

        def replay(self) -> None:
            runs.append("replayed")

    def take(x: Any, labels: Any) -> Any:
        runs.append(x)
        return x.sum()

    for name in ("Stream", "stream", "current_stream", "CUDAGraph", "graph"):
        monkeypatch.setattr(torch.cuda, name, Stand)
    captured = torch_peer.Captured(take)
    batches = [(torch.full((2,), float(i)), torch.zeros(2)) for i in range(5)]
    for batch in batches:
        captured(*batch)
    assert [x is batch[0] for x, batch in zip(runs[:3], batches)] == [True] * 3
    assert runs[4:] == ["replayed"] * 2
    assert runs[3].tolist() == [4, 4]  # its own memory, into which every batch goes
    assert runs[3] is not batches[4][0]
