// CuPy arrays at the border: the names of host/arrays.h. What goes out lives in CuPy's current
// memory pool, and ops run on its current stream and device.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <vector>

#include "checks.h"
#include "without_gil.h"

namespace striate::bindings {

using Array = py::object;  // a cupy.ndarray

/// A CuPy array of whatever holds numbers on the current device, without a copy; TypeError for
/// everything else: what lies on the CPU, or on another GPU.
Array as_array(const py::handle& object, const char* op, const char* name);

Shape shape_of(const Array& array);
char kind_of(const Array& array);
std::string dtype_of(const Array& array);

/// The address of an array's first element.
void* address_of(const Array& array);

/// `object` as a C-contiguous array of T that lives as long as this does: Input of host/arrays.h.
template <class T>
class Input : public NamedShape {
 public:
  Input(const py::handle& object, const char* op, const char* name);

  const T* data() const { return data_; }
  const Array& array() const { return array_; }

 private:
  Array array_;
  const T* data_;
};

/// A C-contiguous CuPy array of T that is changed in place.
template <class T>
class InPlace {
 public:
  InPlace(const py::handle& object, const char* op, const char* name);
  T* data() const { return data_; }
  int64_t size() const { return size_; }
  const Shape& shape() const { return shape_; }

 private:
  Array array_;
  T* data_;
  Shape shape_;
  int64_t size_;
};

/// What an op returns: a cupy.ndarray.
template <class T>
class Output : public py::object {
 public:
  explicit Output(py::object array) : py::object(std::move(array)), data_(address_of(*this)) {}
  T* data() const { return static_cast<T*>(data_); }

 private:
  void* data_;
};

/// cupy.empty. Raises MemoryError that says how much was asked and what is free.
Array empty(const Shape& shape, const char* dtype);

/// A new array of T, uninitialised.
template <class T>
Output<T> output(const Shape& shape);

template <class T>
T* data(Output<T>& array) {
  return array.data();
}

/// For its lifetime ops of this thread run on CuPy's current stream, and take their scratch from its
/// current allocator.
class CurrentStream {
 public:
  CurrentStream();
  ~CurrentStream();
  CurrentStream(const CurrentStream&) = delete;
};

/// Runs an op on CuPy's current stream, without the GIL.
template <class Run>
void without_gil(const Run& run) {
  const CurrentStream stream;
  const WithoutGil nogil;
  run();
}

/// A new array of T that run(data) fills.
template <class T, class Run>
Output<T> written(const Shape& shape, const Run& run) {
  auto array = output<T>(shape);
  without_gil([&] { run(array.data()); });
  return array;
}

/// Copies within the device.
template <class T>
void copy_elements(T* to, const T* from, int64_t n);

/// Indices of max pooling as int32; int64 ones are cast. One outside the plane is not looked for: that
/// would mean to wait.
template <class Bad>
Input<int32_t> read_indices(const py::object& object, const char* op, int64_t, const Bad&) {
  const Array array = as_array(object, op, "indices");
  return Input<int32_t>(dtype_of(array) == "int64" ? array.attr("astype")("int32") : array, op,
                        "indices");
}

/// Labels of any integer type as int64.
class Labels {
 public:
  Labels() = default;
  /// ValueError for one that is neither a class nor `ignore_index`. In backward, where forward has
  /// looked, and while the stream records, when nobody can, such a label makes NaN instead.
  Labels(const Array& target, int64_t classes, int64_t ignore_index, const char* op, bool backward);
  const int64_t* data() const { return data_; }

 private:
  Array array_;
  const int64_t* data_ = nullptr;
};

/// Whether CuPy's current stream records what it is given instead of running it.
bool is_capturing();

}  // namespace striate::bindings

namespace pybind11::detail {

template <class T>
struct handle_type_name<striate::bindings::Output<T>> {
  static constexpr auto name = const_name("cupy.ndarray");
};

}  // namespace pybind11::detail

#include "optional_input.h"
