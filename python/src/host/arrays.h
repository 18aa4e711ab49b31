// NumPy arrays at the border: what comes in is checked before memory is touched, what goes out lives
// in striate::cpu's pool. (cuda/arrays.h has the same names over CuPy arrays.)
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "checks.h"
#include "cpu/memory.h"
#include "without_gil.h"

namespace striate::bindings {

using Array = py::array;

/// A NumPy view of whatever holds numbers, without a copy; TypeError for everything else, and for
/// what lies on another device.
Array as_array(const py::handle& object, const char* op, const char* name);

inline Shape shape_of(const Array& array) {
  return Shape(array.shape(), array.shape() + array.ndim());
}
inline char kind_of(const Array& array) { return array.dtype().kind(); }
inline std::string dtype_of(const Array& array) { return dtype_name(array.dtype()); }

/// `object` as a C-contiguous array of T that lives as long as this does.
///
/// A NumPy array of another dtype is a TypeError that suggests the cast; a strided or reversed view
/// is copied once; other objects come in through DLPack or the buffer protocol, without a copy;
/// anything else (a list, a number, None) is a TypeError.
template <class T>
class Input : public NamedShape {
 public:
  /// `name` is the argument's name for messages, `op` the function's.
  Input(const py::handle& object, const char* op, const char* name);

  const T* data() const { return static_cast<const T*>(array_.data()); }
  const Array& array() const { return array_; }

 private:
  Array array_;
};

/// A writeable C-contiguous array of T that is changed in place; no copy, so nothing else will do.
template <class T>
class InPlace {
 public:
  InPlace(const py::handle& object, const char* op, const char* name);
  T* data() const { return static_cast<T*>(array_.mutable_data()); }
  int64_t size() const { return array_.size(); }
  Shape shape() const { return shape_of(array_); }

 private:
  mutable Array array_;
};

/// Whether `object` would pass as an Input and as an InPlace, without a copy: a writeable, C-contiguous
/// NumPy array of T. For lists of many small arrays, whose checks would take longer than their op.
template <class T>
bool is_plain(const py::handle& object);

/// What an op returns.
template <class T>
using Output = py::array_t<T>;

/// A new array of T from the pool, uninitialised.
template <class T>
Output<T> output(const Shape& shape) {
  int64_t size = sizeof(T);
  for (const int64_t n : shape) size = checked_product({size, n}, "bytes of the result");
  void* block = cpu::allocate(static_cast<std::size_t>(size > 0 ? size : 1));
  const py::capsule owner(block, [](void* p) { cpu::release(p); });
  return py::array_t<T>(shape, static_cast<const T*>(block), owner);
}

/// Data of an output array. (mutable_data() would check the flags again.)
template <class T>
T* data(Output<T>& array) {
  return const_cast<T*>(array.data());
}

/// Runs an op, without the GIL.
template <class Run>
void without_gil(const Run& run) {
  const WithoutGil nogil;
  run();
}

/// A new array of T from the pool that run(data) fills, without the GIL.
template <class T, class Run>
Output<T> written(const Shape& shape, const Run& run) {
  auto array = output<T>(shape);
  T* const to = data<T>(array);
  without_gil([&] { run(to); });
  return array;
}

template <class T>
void copy_elements(T* to, const T* from, int64_t n) {
  std::copy_n(from, n, to);
}

/// Indices of max pooling as int32: torch's are int64, ours int32, both are taken. Calls
/// bad(index) for an int64 outside [-1, end).
template <class Bad>
Input<int32_t> read_indices(const py::object& object, const char* op, int64_t end, const Bad& bad) {
  if (!py::isinstance<py::array>(object) ||
      !py::reinterpret_borrow<py::array>(object).dtype().equal(py::dtype::of<int64_t>())) {
    return Input<int32_t>(object, op, "indices");
  }
  const Input<int64_t> wide(object, op, "indices");
  auto narrow = output<int32_t>(wide.shape());
  for (int64_t i = 0; i < wide.size(); ++i) {
    const int64_t index = wide.data()[i];
    if (index < -1 || index >= end) bad(index);
    data<int32_t>(narrow)[i] = static_cast<int32_t>(index);
  }
  return Input<int32_t>(narrow, op, "indices");
}

/// Labels of any integer type, copied: nobody can change them once they are checked.
class Labels {
 public:
  Labels() = default;
  /// ValueError for one that is neither a class nor `ignore_index`.
  Labels(const Array& target, int64_t classes, int64_t ignore_index, const char* op, bool backward);
  const int64_t* data() const { return labels_.data(); }

 private:
  std::vector<int64_t> labels_;
};

}  // namespace striate::bindings

#include "optional_input.h"
