// Arrays at the border: what comes in is checked before memory is touched, what goes out lives in
// striate::cpu's pool.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <vector>

#include "cpu/memory.h"

namespace striate::bindings {

namespace py = pybind11;

using Shape = std::vector<int64_t>;

/// "(2, 3, 5)"
std::string text(const Shape& shape);

template <std::size_t n>
std::string text(const std::array<int64_t, n>& values) {
  return text(Shape(values.begin(), values.end()));
}

/// a * b, or ValueError that names what was computed, when it does not fit 2^47 (which is more
/// elements than any memory has, and leaves room for the arithmetic of the kernels).
int64_t checked_product(std::initializer_list<int64_t> sizes, const char* what);

/// Raises ValueError("<op>: " + message).
[[noreturn]] void fail(const char* op, const std::string& message);

/// A NumPy view of whatever holds numbers, without a copy; TypeError for everything else.
py::array as_array(const py::handle& object, const char* op, const char* name);

constexpr int64_t kLargest = (int64_t{1} << 31) - 1;  // of a size argument

/// ValueError unless every value lies between `least` and kLargest.
template <std::size_t n>
void check_range(const char* op, const char* name, const std::array<int64_t, n>& values,
                 int64_t least) {
  for (const int64_t value : values) {
    if (value < least || value > kLargest) {
      fail(op, std::string(name) + " must be between " + std::to_string(least) + " and " +
                   std::to_string(kLargest) + ", got " + text(values));
    }
  }
}

/// `object` as a C-contiguous array of T that lives as long as this does.
///
/// A NumPy array of another dtype is a TypeError that suggests the cast; a strided or reversed view
/// is copied once; other objects come in through DLPack or the buffer protocol, without a copy;
/// anything else (a list, a number, None) is a TypeError.
template <class T>
class Input {
 public:
  /// `name` is the argument's name for messages, `op` the function's.
  Input(const py::handle& object, const char* op, const char* name);

  const T* data() const { return static_cast<const T*>(array_.data()); }
  const py::array& array() const { return array_; }
  const Shape& shape() const { return shape_; }
  int64_t ndim() const { return static_cast<int64_t>(shape_.size()); }
  int64_t size() const { return array_.size(); }
  int64_t operator[](std::size_t axis) const { return shape_[axis]; }

  /// ValueError unless the rank is `ndim`; `layout` says what the axes are: "(N, C, H, W)".
  const Input& expect_ndim(int64_t ndim, const char* layout) const;
  /// ValueError unless the shape is `shape`; `why` says where that comes from.
  const Input& expect_shape(const Shape& shape, const char* why) const;

 private:
  const char* op_;
  const char* name_;
  py::array array_;
  Shape shape_;
};

/// An optional Input: None gives data() == nullptr.
template <class T>
class OptionalInput {
 public:
  OptionalInput(const py::handle& object, const char* op, const char* name);
  explicit operator bool() const { return !input_.empty(); }
  const T* data() const { return input_.empty() ? nullptr : input_[0].data(); }
  const Input<T>& operator*() const { return input_[0]; }

 private:
  std::vector<Input<T>> input_;  // one or none
};

/// A writeable C-contiguous array of T that is changed in place; no copy, so nothing else will do.
template <class T>
class InPlace {
 public:
  InPlace(const py::handle& object, const char* op, const char* name);
  T* data() const { return static_cast<T*>(array_.mutable_data()); }
  int64_t size() const { return array_.size(); }
  Shape shape() const { return Shape(array_.shape(), array_.shape() + array_.ndim()); }

 private:
  mutable py::array array_;
};

/// Whether `object` would pass as an Input and as an InPlace, without a copy: a writeable, C-contiguous
/// NumPy array of T. For lists of many small arrays, whose checks would take longer than their op.
template <class T>
bool is_plain(const py::handle& object);

/// A new array of T from the pool, uninitialised.
template <class T>
py::array_t<T> output(const Shape& shape) {
  int64_t size = sizeof(T);
  for (const int64_t n : shape) size = checked_product({size, n}, "bytes of the result");
  void* block = cpu::allocate(static_cast<std::size_t>(size > 0 ? size : 1));
  const py::capsule owner(block, [](void* p) { cpu::release(p); });
  return py::array_t<T>(shape, static_cast<const T*>(block), owner);
}

/// Data of an output array. (mutable_data() would check the flags again.)
template <class T>
T* data(py::array_t<T>& array) {
  return const_cast<T*>(array.data());
}

/// A new array of T from the pool that run(data) fills, without the GIL.
template <class T, class Run>
py::array_t<T> written(const Shape& shape, const Run& run) {
  auto array = output<T>(shape);
  T* const to = data(array);
  const py::gil_scoped_release nogil;
  run(to);
  return array;
}

}  // namespace striate::bindings
