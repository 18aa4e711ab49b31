"""AlexNet: the single tower that everybody fine-tunes, and the network of the 2012 paper."""

from __future__ import annotations

from striate import nn
from striate.nn import init


def alexnet(num_classes: int = 1000, dropout: float = 0.5) -> nn.Sequential:
    """AlexNet of "One weird trick for parallelizing convolutional neural networks" (2014).

    Krizhevsky's single tower, layer for layer and key for key as torchvision has it, so that its
    weights load. For (N, 3, H, W) images of 63 pixels or more a side: the adaptive pooling makes
    6x6 of any map. Weights start as PyTorch's do. ``dropout``: the probability of both dropouts.

    layer                            output     sees     parameters  multiply-adds
    input                            3x224x224
    features.0    Conv2d             64x55x55   11x11        23,296     70,276,800
    features.1    ReLU               64x55x55   11x11
    features.2    MaxPool2d          64x27x27   19x19
    features.3    Conv2d             192x27x27  51x51       307,392    223,948,800
    features.4    ReLU               192x27x27  51x51
    features.5    MaxPool2d          192x13x13  67x67
    features.6    Conv2d             384x13x13  99x99       663,936    112,140,288
    features.7    ReLU               384x13x13  99x99
    features.8    Conv2d             256x13x13  131x131     884,992    149,520,384
    features.9    ReLU               256x13x13  131x131
    features.10   Conv2d             256x13x13  163x163     590,080     99,680,256
    features.11   ReLU               256x13x13  163x163
    features.12   MaxPool2d          256x6x6    195x195
    avgpool       AdaptiveAvgPool2d  256x6x6    195x195
    flatten       Flatten            9216       195x195
    classifier.0  Dropout            9216       195x195
    classifier.1  Linear             4096       all      37,752,832     37,748,736
    classifier.2  ReLU               4096       all
    classifier.3  Dropout            4096       all
    classifier.4  Linear             4096       all      16,781,312     16,777,216
    classifier.5  ReLU               4096       all
    classifier.6  Linear             1000       all       4,097,000      4,096,000
    total                                                61,100,840    714,188,480
    """
    features = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
    )
    classifier = nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, num_classes),
    )
    return nn.Sequential(
        {
            "features": features,
            "avgpool": nn.AdaptiveAvgPool2d(6),
            "flatten": nn.Flatten(),
            "classifier": classifier,
        }
    )


def alexnet_2012(num_classes: int = 1000, dropout: float = 0.5, bias: float = 0.1) -> nn.Sequential:
    """The network of Krizhevsky, Sutskever, Hinton 2012, for (N, 3, 227, 227) images.

    Section 3.5: two groups in conv2, conv4 and conv5 (the paper's two GPUs), local response
    normalisation after conv1 and conv2, 3x3 pooling with stride 2 (the windows overlap), dropout
    in fc6 and fc7. The paper says 224 pixels; its 55x55 maps need 227 without padding.

    ``bias``: what the biases of conv2, conv4, conv5, fc6 and fc7 start with; the others start with
    0, and all weights with N(0, 0.01^2) (section 5). The paper says 1. That gave Caffe a flat loss,
    and its bvlc_alexnet took 0.1, which trains and is the default here.

    The normalisation is ``LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2)``: the paper's k = 2,
    n = 5, alpha = 1e-4, beta = 0.75 (section 3.3), whose formula multiplies the sum of squares by
    alpha, where torch's, and so Striate's, multiplies by alpha / n. The authors' cuda-convnet and
    Caffe divided by n, too: theirs would be ``LocalResponseNorm(5, alpha=1e-4, ...)``.

    layer                       output     sees     parameters  multiply-adds
    input                       3x227x227
    conv1    Conv2d             96x55x55   11x11        34,944    105,415,200
    relu1    ReLU               96x55x55   11x11
    norm1    LocalResponseNorm  96x55x55   11x11
    pool1    MaxPool2d          96x27x27   19x19
    conv2    Conv2d             256x27x27  51x51       307,456    223,948,800
    relu2    ReLU               256x27x27  51x51
    norm2    LocalResponseNorm  256x27x27  51x51
    pool2    MaxPool2d          256x13x13  67x67
    conv3    Conv2d             384x13x13  99x99       885,120    149,520,384
    relu3    ReLU               384x13x13  99x99
    conv4    Conv2d             384x13x13  131x131     663,936    112,140,288
    relu4    ReLU               384x13x13  131x131
    conv5    Conv2d             256x13x13  163x163     442,624     74,760,192
    relu5    ReLU               256x13x13  163x163
    pool5    MaxPool2d          256x6x6    195x195
    flatten  Flatten            9216       195x195
    fc6      Linear             4096       all      37,752,832     37,748,736
    relu6    ReLU               4096       all
    drop6    Dropout            4096       all
    fc7      Linear             4096       all      16,781,312     16,777,216
    relu7    ReLU               4096       all
    drop7    Dropout            4096       all
    fc8      Linear             1000       all       4,097,000      4,096,000
    total                                           60,965,224    724,406,816
    """
    model = nn.Sequential(
        {
            "conv1": nn.Conv2d(3, 96, 11, stride=4),
            "relu1": nn.ReLU(),
            "norm1": nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
            "pool1": nn.MaxPool2d(3, stride=2),
            "conv2": nn.Conv2d(96, 256, 5, padding=2, groups=2),
            "relu2": nn.ReLU(),
            "norm2": nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
            "pool2": nn.MaxPool2d(3, stride=2),
            "conv3": nn.Conv2d(256, 384, 3, padding=1),
            "relu3": nn.ReLU(),
            "conv4": nn.Conv2d(384, 384, 3, padding=1, groups=2),
            "relu4": nn.ReLU(),
            "conv5": nn.Conv2d(384, 256, 3, padding=1, groups=2),
            "relu5": nn.ReLU(),
            "pool5": nn.MaxPool2d(3, stride=2),
            "flatten": nn.Flatten(),
            "fc6": nn.Linear(256 * 6 * 6, 4096),
            "relu6": nn.ReLU(),
            "drop6": nn.Dropout(dropout),
            "fc7": nn.Linear(4096, 4096),
            "relu7": nn.ReLU(),
            "drop7": nn.Dropout(dropout),
            "fc8": nn.Linear(4096, num_classes),
        }
    )
    init.initialize(model, "normal")
    for name in ("conv2", "conv4", "conv5", "fc6", "fc7"):
        init.constant_(getattr(model, name).bias, bias)
    return model
