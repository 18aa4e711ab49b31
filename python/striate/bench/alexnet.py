"""AlexNet for the benchmarks: the single tower, as torchvision has it."""

from __future__ import annotations

from functools import partial
from typing import Any

from striate.bench import networks, serving, torch_peer
from striate.bench.networks import Network
from striate.bench.work import Peer

CLASSES = 1000


def _striate() -> Any:
    from striate import models

    return models.alexnet(CLASSES)


def _torch() -> Any:
    from torch import nn

    relu = partial(nn.ReLU, inplace=True)  # as torchvision's AlexNet has it
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), relu(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), relu(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), relu(),
        nn.Conv2d(384, 256, 3, padding=1), relu(),
        nn.Conv2d(256, 256, 3, padding=1), relu(), nn.MaxPool2d(3, 2),
        nn.AdaptiveAvgPool2d(6), nn.Flatten(),
        nn.Dropout(), nn.Linear(256 * 6 * 6, 4096), relu(),
        nn.Dropout(), nn.Linear(4096, 4096), relu(), nn.Linear(4096, CLASSES),
    )  # fmt: skip


NETWORK = Network((3, 224, 224), CLASSES, _striate, _torch)

TRAIN = {
    "striate": Peer(partial(networks.train, NETWORK)),
    "torch": Peer(partial(torch_peer.train, NETWORK), torch_peer.STEPS),
}
INFER = {
    "striate": Peer(partial(networks.infer, NETWORK)),
    "torch": Peer(partial(torch_peer.infer, NETWORK), torch_peer.LAYOUTS),
    **serving.peers(NETWORK),
}
