// What every binding checks, wherever its arrays lie: sizes, ranges, shapes; and the sentences.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

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

/// "relu: input ", for messages.
std::string where(const char* op, const char* name);

std::string dtype_name(const py::handle& dtype);

/// The name of an object's class.
std::string type_name(const py::handle& object);

/// TypeError: an array of another dtype than `wanted`, with the cast that would help.
[[noreturn]] void fail_dtype(const char* op, const char* name, const std::string& wanted,
                             const std::string& got, const char* module);

/// ValueError: label `i` of an array of `shape` is `label`, which is none of the classes.
[[noreturn]] void fail_label(const char* op, int64_t i, const Shape& shape,
                             const std::string& label, int64_t classes, int64_t ignore_index);

/// The shape of an argument, by whose name it is spoken of.
class NamedShape {
 public:
  const Shape& shape() const { return shape_; }
  int64_t ndim() const { return static_cast<int64_t>(shape_.size()); }
  int64_t size() const { return size_; }
  int64_t operator[](std::size_t axis) const { return shape_[axis]; }

  /// ValueError unless the rank is `ndim`; `layout` says what the axes are: "(N, C, H, W)".
  void expect_ndim(int64_t ndim, const char* layout) const;
  /// ValueError unless the shape is `shape`; `why` says where that comes from.
  void expect_shape(const Shape& shape, const char* why) const;

 protected:
  NamedShape(const char* op, const char* name) : op_(op), name_(name) {}
  void set_shape(Shape shape);

  const char* op_;
  const char* name_;

 private:
  Shape shape_;
  int64_t size_ = 1;
};

}  // namespace striate::bindings
