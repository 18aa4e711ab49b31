"""Functions of arrays on the device, and the operators made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._array import SCALARS, call, ndarray
from .cuda import stream as streams


class ufunc:
    """Only cupy arrays and scalars go in: a numpy.ndarray is refused, not sent to the device."""

    def __init__(self, name: str) -> None:
        self.__name__ = f"cupy_{name}"
        self._function = getattr(np, name)
        self.nin, self.nout = self._function.nin, self._function.nout

    def __repr__(self) -> str:
        return f"<ufunc '{self.__name__}'>"

    def __call__(
        self,
        *args: Any,
        out: Any = None,
        dtype: Any = None,
        casting: str = "same_kind",
        **wrong: Any,
    ) -> ndarray:
        if wrong:
            raise TypeError(f"Wrong arguments {wrong}")
        if len(args) == self.nin + 1 and out is None:
            *args, out = args
        if len(args) != self.nin:
            raise TypeError(
                f"Wrong number of arguments for '{self.__name__}'. It must be either {self.nin} or "
                f"{self.nin + self.nout} (with outputs), but given {len(args)}."
            )
        kwargs = {"casting": casting} | ({} if dtype is None else {"dtype": dtype})
        return call(lambda *hosts, **to: self._function(*hosts, **to, **kwargs), *args, out=out)


_BINARY = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "left_shift",
    "rshift": "right_shift",
    "matmul": "matmul",
}
_COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "eq": "equal",
    "ne": "not_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
_UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}
_OTHERS = [
    "maximum",
    "minimum",
    "sqrt",
    "square",
    "exp",
    "log",
    "isfinite",
    "isnan",
    "isinf",
    "sign",
]

UFUNCS = {
    name: ufunc(name)
    for name in [*_BINARY.values(), *_COMPARISONS.values(), *_UNARY.values(), *_OTHERS]
}


def _operators(name: str, function: ufunc) -> None:
    def known(other: Any) -> bool:
        return isinstance(other, (ndarray, np.ndarray, *SCALARS))

    def forward(self: ndarray, other: Any) -> Any:
        return function(self, other) if known(other) else NotImplemented

    def backward(self: ndarray, other: Any) -> Any:
        return function(other, self) if known(other) else NotImplemented

    def in_place(self: ndarray, other: Any) -> Any:
        return function(self, other, self)

    setattr(ndarray, f"__{name}__", forward)
    setattr(ndarray, f"__r{name}__", backward)
    if name != "matmul":
        setattr(ndarray, f"__i{name}__", in_place)


def _comparison(name: str, function: ufunc) -> None:
    def compare(self: ndarray, other: Any) -> Any:
        if isinstance(other, np.ndarray) and other.ndim == 0:
            other = other.item()
        if other is None and name in ("eq", "ne"):
            return call(lambda x: np.full(x.shape, name == "ne"), self)
        return (
            function(self, other)
            if isinstance(other, (ndarray, np.ndarray, *SCALARS))
            else (NotImplemented)
        )

    setattr(ndarray, f"__{name}__", compare)


for _name, _function in _BINARY.items():
    _operators(_name, UFUNCS[_function])
for _name, _function in _COMPARISONS.items():
    _comparison(_name, UFUNCS[_function])
for _name, _function in _UNARY.items():
    setattr(ndarray, f"__{_name}__", lambda self, f=UFUNCS[_function]: f(self))


def _reduction(name: str, typed: bool = False) -> Callable[..., ndarray]:
    function = getattr(np, name)

    def reduce(self: ndarray, axis: Any, out: Any, keepdims: bool, **kwargs: Any) -> ndarray:
        kwargs |= {"axis": axis, "keepdims": keepdims}
        return call(lambda x, **to: function(x, **kwargs, **to), self, out=out)

    if typed:
        return lambda self, axis=None, dtype=None, out=None, keepdims=False: reduce(
            self, axis, out, keepdims, dtype=dtype
        )
    return lambda self, axis=None, out=None, keepdims=False: reduce(self, axis, out, keepdims)


for _name in ("sum", "mean"):
    setattr(ndarray, _name, _reduction(_name, typed=True))
for _name in ("max", "min", "all", "any", "argmax"):
    setattr(ndarray, _name, _reduction(_name))
ndarray.argsort = lambda self, axis=-1: call(
    lambda x: np.argsort(x, axis=axis, kind="stable"), self
)
ndarray.dot = lambda self, b, out=None: call(np.dot, self, b, out=out)


def _check(*arrays: Any) -> None:
    for array in arrays:
        if not isinstance(array, ndarray):
            raise TypeError(f"the argument must be cupy.ndarray, not {type(array)}")


def _method(name: str) -> Callable[..., Any]:
    def function(a: Any, *args: Any, **kwargs: Any) -> Any:
        _check(a)
        return getattr(a, name)(*args, **kwargs)

    function.__name__ = name
    return function


_METHODS = ["sum", "mean", "max", "min", "all", "any", "reshape", "ravel", "transpose", "squeeze"]
METHODS = {name: _method(name) for name in [*_METHODS, "swapaxes", "take", "copy"]}


def argmax(
    a: ndarray, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
) -> ndarray:
    _check(a)
    if dtype is not None:
        raise TypeError("dtype of argmax is not in the double")
    return a.argmax(axis, out, keepdims)


def argsort(a: ndarray, axis: Any = -1, kind: Any = None) -> ndarray:
    _check(a)
    if kind not in (None, "stable"):
        raise ValueError("kind can only be None or 'stable'")
    return a.argsort(axis)


def concatenate(
    tup: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> ndarray:
    arrays = list(tup)
    _check(*arrays)
    return call(
        lambda *hosts, **to: np.concatenate(hosts, axis, dtype=dtype, casting=casting, **to),
        *arrays,
        out=out,
    )


def stack(
    tup: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> ndarray:
    arrays = list(tup)
    _check(*arrays)
    return call(
        lambda *hosts, **to: np.stack(hosts, axis, dtype=dtype, casting=casting, **to),
        *arrays,
        out=out,
    )


def split(ary: ndarray, indices_or_sections: Any, axis: int = 0) -> list[ndarray]:
    _check(ary)
    return [ary._view(host) for host in np.split(ary._host, indices_or_sections, axis)]


def expand_dims(a: ndarray, axis: Any) -> ndarray:
    _check(a)
    return a._view(np.expand_dims(a._host, axis))


def broadcast_to(array: ndarray, shape: Any) -> ndarray:
    _check(array)
    return array._view(np.broadcast_to(array._host, shape))


def pad(array: ndarray, pad_width: Any, mode: str = "constant", **kwargs: Any) -> ndarray:
    _check(array)
    return call(lambda x: np.pad(x, pad_width, mode, **kwargs), array)


def where(condition: ndarray, x: Any = None, y: Any = None) -> Any:
    _check(condition)
    if (x is None) != (y is None):
        raise ValueError("Must provide both 'x' and 'y' or neither.")
    if x is None:
        streams.refuse_transfer(streams.get_current_stream().ptr, "D2H")
        count = range(condition.ndim)
        return tuple(call(lambda c, axis=axis: np.nonzero(c)[axis], condition) for axis in count)
    return call(lambda c, x, y: np.where(c.astype(bool), x, y), condition, x, y)


def copyto(dst: ndarray, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    _check(dst)
    if isinstance(src, np.ndarray):
        if src.size != 1:
            raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
        src = src.item()
    if where is None:
        call(lambda x, out: np.copyto(out, x, casting), src, out=dst)
    else:
        call(lambda x, c, out: np.copyto(out, x, casting, c), src, where, out=dst)


def take_along_axis(a: ndarray, indices: ndarray, axis: Any) -> ndarray:
    _check(a, indices)
    if indices.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    return call(lambda x, i: np.take_along_axis(x, i, axis), a, indices)


def count_nonzero(a: ndarray, axis: Any = None) -> ndarray:
    _check(a)
    return call(lambda x: np.count_nonzero(x, axis), a)


def vdot(a: ndarray, b: ndarray) -> ndarray:
    _check(a, b)
    return call(np.vdot, a, b)


def dot(a: ndarray, b: ndarray, out: Any = None) -> ndarray:
    _check(a)
    return call(np.dot, a, b, out=out)


def may_share_memory(a: ndarray, b: ndarray, max_work: Any = None) -> bool:
    _check(a, b)
    return np.may_share_memory(a._host, b._host)


def shares_memory(a: ndarray, b: ndarray, max_work: Any = None) -> bool:
    _check(a, b)
    streams.refuse_transfer(streams.get_current_stream().ptr, "D2H")  # CuPy asks a kernel
    return np.shares_memory(a._host, b._host)
