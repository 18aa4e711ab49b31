"""Layers with the constructors of ``torch.nn``. ``Module`` is an alias of ``Layer``.

A step reads::

    loss = criterion(model(x), labels)        # a float
    model.backward(criterion.backward())      # gradients accumulate in p.grad until zero_grad
    optimizer.step()
    optimizer.zero_grad()
"""

from striate.nn import init, utils
from striate.nn.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from striate.nn.affine import Bias, ChannelAffine
from striate.nn.convolution import Conv2d
from striate.nn.dropout import Dropout
from striate.nn.graph import Graph, Node, Sequential
from striate.nn.layer import Layer, Parameter
from striate.nn.linear import Flatten, Linear
from striate.nn.loss import CrossEntropyLoss
from striate.nn.merge import Add, Concat, Identity
from striate.nn.normalization import LocalResponseNorm
from striate.nn.padding import ConstantPad2d, ZeroPad2d
from striate.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from striate.nn.summary import Row, Summary, summary

Module = Layer

__all__ = [
    "AdaptiveAvgPool2d",
    "Add",
    "AvgPool2d",
    "Bias",
    "ChannelAffine",
    "Concat",
    "ConstantPad2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Graph",
    "Identity",
    "Layer",
    "Linear",
    "LocalResponseNorm",
    "LogSoftmax",
    "MaxPool2d",
    "Module",
    "Node",
    "Parameter",
    "ReLU",
    "Row",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Summary",
    "Tanh",
    "ZeroPad2d",
    "init",
    "summary",
    "utils",
]
