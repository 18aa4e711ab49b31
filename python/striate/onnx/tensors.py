"""Tensors of an ONNX file as arrays: what they claim is checked against what they hold."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import AttributeProto, TensorProto, checker, external_data_helper, numpy_helper

from striate.onnx.errors import OnnxError, one_line

ANY = npt.NDArray[Any]
MOST_AXES = 64  # what NumPy's arrays may have
MOST = 2**24  # bytes that a file may ask for by ConstantOfShape without holding them

# Weights are float32; the others are shapes, ratios and flags.
_DTYPES: dict[int, Any] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.DOUBLE: np.float64,
    TensorProto.FLOAT16: np.float16,
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
    TensorProto.BOOL: np.bool_,
}
_KEYS = {"location", "offset", "length", "checksum", "basepath"}


def type_name(data_type: int) -> str:
    """'FLOAT16' for 10; the number itself for one that ONNX does not know."""
    try:
        return str(TensorProto.DataType.Name(data_type))
    except ValueError:
        return str(data_type)


def dims_of(tensor: TensorProto) -> tuple[int, ...]:
    if len(tensor.dims) > MOST_AXES:
        raise OnnxError(
            f"the tensor {tensor.name!r} has {len(tensor.dims)} dimensions; at most {MOST_AXES} "
            "are supported"
        )
    dims = tuple(tensor.dims)
    if any(n < 0 for n in dims) or math.prod(dims) >= 2**31:
        raise OnnxError(f"the tensor {tensor.name!r} has the impossible shape {dims}")
    return dims


def to_array(tensor: TensorProto, folder: Path | None) -> ANY:
    """The tensor's values, whose number must be what its shape says.

    External data is read from a file inside ``folder``; without one it is refused.
    """
    dims = dims_of(tensor)
    dtype = _DTYPES.get(tensor.data_type)
    if dtype is None:
        raise OnnxError(
            f"the tensor {tensor.name!r} has elements of type {type_name(tensor.data_type)}, which "
            "is not supported"
        )
    if tensor.data_location == TensorProto.EXTERNAL:
        tensor = _with_external_data(tensor, folder)
    wanted = math.prod(dims)
    if tensor.HasField("raw_data"):
        raw, stored = tensor.raw_data, np.dtype(dtype).newbyteorder("<")
        if len(raw) != wanted * stored.itemsize:
            raise OnnxError(
                f"the tensor {tensor.name!r} of shape {dims} needs {wanted * stored.itemsize} "
                f"bytes, but has {len(raw)}"
            )
        return np.frombuffer(raw, stored).astype(dtype, copy=False).reshape(dims)
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise OnnxError(
            f"the tensor {tensor.name!r} of shape {dims} has not {wanted} values "
            f"({one_line(error)})"
        ) from None
    if array.shape != dims:
        raise OnnxError(f"the tensor {tensor.name!r} of shape {dims} holds {array.shape}")
    return array


def _with_external_data(tensor: TensorProto, folder: Path | None) -> TensorProto:
    keys = {entry.key: entry.value for entry in tensor.external_data}
    where = f"the tensor {tensor.name!r} lies in the file {keys.get('location', '')!r}"
    if folder is None:
        raise OnnxError(f"{where}, but a model in memory has no folder")
    if set(keys) - _KEYS:
        raise OnnxError(f"{where} with unknown keys {sorted(set(keys) - _KEYS)}")
    loaded = TensorProto()
    loaded.CopyFrom(tensor)
    try:  # refuses a path that leaves the folder, a link, and sizes beyond the file
        external_data_helper.load_external_data_for_tensor(loaded, str(folder))
    except (checker.ValidationError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise OnnxError(f"{where}, which cannot be read ({one_line(error)})") from None
    loaded.data_location = TensorProto.DEFAULT
    return loaded


def attribute_value(attribute: AttributeProto) -> Any:
    """An attribute as a number, text, tensor or list of numbers; None for any other kind."""
    kind = attribute.type
    if kind == AttributeProto.INT:
        return attribute.i
    if kind == AttributeProto.FLOAT:
        return attribute.f
    if kind == AttributeProto.STRING:
        return attribute.s.decode("utf-8", "replace")
    if kind == AttributeProto.TENSOR:
        return attribute.t
    if kind == AttributeProto.INTS:
        return list(attribute.ints)
    if kind == AttributeProto.FLOATS:
        return list(attribute.floats)
    return None
