"""The ops: names, argument order and defaults of ``torch.nn.functional``, on NumPy float32 arrays.

Each op stands beside its ``<op>_backward(dy, what forward saved, forward's arguments)``, which
returns the gradients in the order of the inputs. Nothing here holds state. What torch accepts and
Striate lacks is refused by name; nothing is cast or broadcast in silence.
"""

from striate.functional.activation import relu, relu_backward

__all__ = [
    "relu",
    "relu_backward",
]
