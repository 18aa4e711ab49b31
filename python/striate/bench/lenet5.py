"""LeNet-5 for the benchmarks, in Striate, PyTorch and JAX."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from striate.bench import networks, serving, torch_peer
from striate.bench.networks import SGD, Network, images, norms, sample
from striate.bench.work import Peer, Work


def _striate() -> Any:
    from striate import models

    return models.lenet5()


def _torch() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


NETWORK = Network((1, 28, 28), 10, _striate, _torch)


def train_jax(batch_size: int) -> Work:
    """The step of networks.train as one function compiled by XLA, its state given away to it."""
    import jax
    import jax.numpy as jnp

    def logits(w: list[Any], x: Any) -> Any:
        for i, padding in ((0, "SAME"), (2, "VALID")):
            x = jax.lax.conv_general_dilated(x, w[i], (1, 1), padding)
            x = jax.nn.relu(x + w[i + 1][:, None, None])
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        x = x.reshape(len(x), -1)
        for i in (4, 6):
            x = jax.nn.relu(x @ w[i].T + w[i + 1])
        return x @ w[8].T + w[9]

    def loss(w: list[Any], x: Any, labels: Any) -> Any:
        log_p = jax.nn.log_softmax(logits(w, x))
        return -jnp.take_along_axis(log_p, labels[:, None], 1).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(w: list[Any], v: list[Any], x: Any, labels: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(w, x, labels)
        gradients = [g + SGD["weight_decay"] * a for g, a in zip(gradients, w)]
        v = [SGD["momentum"] * a + g for a, g in zip(v, gradients)]
        return value, [a - SGD["lr"] * b for a, b in zip(w, v)], v

    weights = [parameter.data for parameter in networks.filled(NETWORK).parameters()]
    x, labels = map(jnp.asarray, images(NETWORK, batch_size))
    w = [jnp.array(a) for a in weights]
    v = [jnp.zeros_like(a) for a in w]
    value, gradients = jax.value_and_grad(loss)(w, x, labels)
    check = [*sample(np.asarray(logits(w, x))), float(value)]
    check += norms(np.asarray(g) for g in gradients)
    value, w, v = update(w, v, x, labels)
    check.append(float(loss(w, x, labels)))
    state = [w, v]

    def step() -> Any:
        value, *state[:] = update(*state, x, labels)
        return value.block_until_ready()

    return Work(step, check)


TRAIN = {
    "striate": Peer(partial(networks.train, NETWORK)),
    "torch": Peer(partial(torch_peer.train, NETWORK), torch_peer.STEPS),
    "jax": Peer(train_jax),
}
INFER = {
    "striate": Peer(partial(networks.infer, NETWORK)),
    "torch": Peer(partial(torch_peer.infer, NETWORK), torch_peer.LAYOUTS),
    **serving.peers(NETWORK),
}
