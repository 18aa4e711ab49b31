"""The ops: names, argument order and defaults of ``torch.nn.functional``, on NumPy float32 arrays.

Each op stands beside its ``<op>_backward(dy, what forward saved, forward's arguments)``, which
returns the gradients in the order of the inputs. Nothing here holds state. What torch accepts and
Striate lacks is refused by name; nothing is cast or broadcast in silence.
"""

from striate.functional.activation import (
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    tanh,
    tanh_backward,
)
from striate.functional.convolution import conv2d, conv2d_backward
from striate.functional.dropout import dropout, dropout_backward
from striate.functional.linear import linear, linear_backward
from striate.functional.loss import cross_entropy, cross_entropy_backward
from striate.functional.normalization import local_response_norm, local_response_norm_backward
from striate.functional.pooling import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from striate.functional.softmax import (
    log_softmax,
    log_softmax_backward,
    softmax,
    softmax_backward,
)

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "conv2d",
    "conv2d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "dropout",
    "dropout_backward",
    "linear",
    "linear_backward",
    "local_response_norm",
    "local_response_norm_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "tanh_backward",
]
