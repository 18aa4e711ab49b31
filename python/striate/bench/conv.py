"""AlexNet's five convolutions, each of the three passes, with the error beside the speed."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from striate.bench.work import Peer, Work

Array = Any
PASSES = ("forward", "backward_data", "backward_weight")


class Layer(NamedTuple):
    """C channels of H x H pixels to K channels, by R x R kernels."""

    C: int
    H: int
    K: int
    R: int
    stride: int
    padding: int

    @property
    def P(self) -> int:
        return (self.H + 2 * self.padding - self.R) // self.stride + 1

    def flop(self, images: int) -> float:
        """Of one pass."""
        return 2.0 * images * self.K * self.P**2 * self.C * self.R**2


LAYERS = {
    "conv1": Layer(3, 224, 64, 11, 4, 2),
    "conv2": Layer(64, 27, 192, 5, 1, 2),
    "conv3": Layer(192, 13, 384, 3, 1, 1),
    "conv4": Layer(384, 13, 256, 3, 1, 1),
    "conv5": Layer(256, 13, 256, 3, 1, 1),
}
_IMAGES = 2  # that the error of the two passes is taken of which work image by image


def by_striate(layer: str, kind: str, batch_size: int, real: str | None = None) -> Work:
    from striate import _core

    l = LAYERS[layer]  # noqa: E741
    x, w, b, dy = arrays(layer, batch_size, real)
    sizes = (l.stride,) * 2, (l.padding,) * 4, (1, 1), 1
    need = (kind == "backward_data", kind == "backward_weight", False)

    def step() -> Array:
        if kind == "forward":
            return _core.conv2d_forward(x, w, b, *sizes)
        return _core.conv2d_backward(dy, x, w, *sizes, need)[need.index(True)]

    return Work(step, flop=l.flop(batch_size), facts=error(layer, kind, batch_size, real, step()))


def by_torch(
    layer: str, kind: str, batch_size: int, real: str | None = None, layout: str = "NCHW"
) -> Work:
    import torch

    l = LAYERS[layer]  # noqa: E741
    x, w, b, dy = map(torch.from_numpy, arrays(layer, batch_size, real))
    if layout == "channels_last":
        x, w, dy = (part.to(memory_format=torch.channels_last) for part in (x, w, dy))
    stride, padding = (l.stride,) * 2, (l.padding,) * 2
    need = (kind == "backward_data", kind == "backward_weight", False)

    def step() -> Any:
        with torch.inference_mode():
            if kind == "forward":
                return torch.conv2d(x, w, b, stride, padding)
            return torch.ops.aten.convolution_backward(
                dy, x, w, None, stride, padding, (1, 1), False, (0, 0), 1, need
            )[need.index(True)]

    found = step().contiguous().numpy()
    return Work(step, flop=l.flop(batch_size), facts=error(layer, kind, batch_size, real, found))


def arrays(layer: str, batch_size: int, real: str | None) -> tuple[Array, Array, Array, Array]:
    """(x, w, b, dy): drawn, weights as PyTorch draws them; or, of ``real``, an .npz file that
    activations() wrote, x and w.
    """
    l, generator = LAYERS[layer], np.random.default_rng(0)  # noqa: E741
    x = generator.standard_normal((batch_size, l.C, l.H, l.H), np.float32)
    bound = 1 / (l.C * l.R * l.R) ** 0.5
    w = generator.uniform(-bound, bound, (l.K, l.C, l.R, l.R)).astype(np.float32)
    b = generator.uniform(-bound, bound, l.K).astype(np.float32)
    dy = generator.standard_normal((batch_size, l.K, l.P, l.P), np.float32)
    if real is not None:
        with np.load(real) as file:
            found = file[f"{layer}.x"]
            x, w, b = np.resize(found, x.shape), file[f"{layer}.w"], file[f"{layer}.b"]
    return x, w, b, dy


def activations(model_file: str, folder: str, out: str) -> None:
    """Writes the input, the weights and the bias of each convolution of a trained ``alexnet``,
    for 64 pictures of ``folder`` (class folders), into the .npz file ``out``.
    """
    from striate import models, nn
    from striate.cli._common import model_path, preparation
    from striate.data import ImageFolder
    from striate.data.dataset import batches

    path = model_path(model_file)
    model, description = models.load(path)
    samples = ImageFolder(folder, preparation(path, description)[1])
    chosen = np.linspace(0, len(samples) - 1, 64).round().astype(np.int64)
    (batch,) = batches(samples, [chosen])
    kept: dict[str, Array] = {}
    x, names = batch.inputs, iter(LAYERS)
    for layer in getattr(model, "features", ()):
        if isinstance(layer, nn.Conv2d):
            name = next(names, "conv6")
            expected = LAYERS.get(name)
            shape = expected and (expected.K, expected.C, expected.R, expected.R)
            if layer.weight.shape != shape or layer.bias is None:
                raise ValueError(f"--real: {path} holds {description.get('model')}, not alexnet")
            kept[f"{name}.x"], kept[f"{name}.w"] = x, layer.weight.data
            kept[f"{name}.b"] = layer.bias.data
        x, _ = layer.apply(x, save=False)
    if len(kept) != 3 * len(LAYERS):
        raise ValueError(f"--real: {path} holds {description.get('model')}, not alexnet")
    np.savez(out, **kept)


def error(
    layer: str, kind: str, batch_size: int, real: str | None, found: Array, limit: float = 1e-3
) -> dict[str, float]:
    """How far ``found``, the result of a pass, is from double precision, relative to the result's
    root mean square. RuntimeError where that is not below ``limit``.
    """
    expected = _expected(LAYERS[layer], layer, kind, batch_size, real)
    difference = found[: len(expected)] - expected
    scale = float(np.sqrt(np.mean(np.square(expected))))
    rms = float(np.sqrt(np.mean(np.square(difference)))) / scale
    largest = float(np.abs(difference).max()) / scale
    if not largest < limit:
        raise RuntimeError(f"conv2d {kind}: differs from the double reference by {largest:.2g}")
    return {"rms_error": rms, "largest_error": largest}


@functools.cache  # the variants of a peer and the precisions of a GPU share it
def _expected(l: Layer, layer: str, kind: str, batch_size: int, real: str | None) -> Array:  # noqa: E741
    return reference(l, kind, *arrays(layer, batch_size, real))


def reference(l: Layer, kind: str, x: Array, w: Array, b: Array, dy: Array) -> Array:  # noqa: E741
    """The pass in double precision, by matrix products over patches: of the first images only
    where the others change nothing.
    """
    images = len(x) if kind == "backward_weight" else min(len(x), _IMAGES)
    wide = w.reshape(l.K, -1).astype(np.float64)
    total = np.zeros((images, l.K, l.P**2) if kind == "forward" else wide.shape)
    edge = l.padding
    dx = np.zeros((images, l.C, l.H + 2 * edge, l.H + 2 * edge))
    for n in range(images):
        dyn = dy[n].reshape(l.K, -1).astype(np.float64)
        if kind == "backward_data":
            patches = (wide.T @ dyn).reshape(l.C, l.R, l.R, l.P, l.P)
            for r in range(l.R):
                for s in range(l.R):
                    window = dx[n, :, r :: l.stride, s :: l.stride][:, : l.P, : l.P]
                    window += patches[:, r, s]
            continue
        padded = np.pad(x[n].astype(np.float64), ((0, 0), (edge, edge), (edge, edge)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (l.R, l.R), (1, 2))
        windows = windows[:, :: l.stride, :: l.stride].transpose(0, 3, 4, 1, 2)
        patches = windows.reshape(l.C * l.R**2, l.P**2)
        if kind == "forward":
            total[n] = wide @ patches + b[:, None]
        else:
            total += dyn @ patches.T
    if kind == "backward_data":
        return dx[:, :, edge : edge + l.H, edge : edge + l.H]
    shape = (images, l.K, l.P, l.P) if kind == "forward" else w.shape
    return total.reshape(shape)


CONV = {
    "striate": Peer(by_striate),
    "torch": Peer(by_torch, [{"layout": "NCHW"}, {"layout": "channels_last"}]),
}
