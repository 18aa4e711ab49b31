#include "checks.h"

namespace striate::bindings {

std::string text(const Shape& shape) {
  std::string s = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) s += ", ";
    s += std::to_string(shape[i]);
  }
  return s + (shape.size() == 1 ? ",)" : ")");
}

int64_t checked_product(std::initializer_list<int64_t> sizes, const char* what) {
  int64_t product = 1;
  for (const int64_t n : sizes) {
    if (n == 0) return 0;
  }
  for (const int64_t n : sizes) {
    if (n < 0 || __builtin_mul_overflow(product, n, &product) || product > int64_t{1} << 47) {
      throw py::value_error("the sizes " + text(Shape(sizes)) + " overflow: too many " + what);
    }
  }
  return product;
}

void fail(const char* op, const std::string& message) {
  throw py::value_error(std::string(op) + ": " + message);
}

std::string where(const char* op, const char* name) { return std::string(op) + ": " + name + " "; }

std::string dtype_name(const py::handle& dtype) { return py::str(dtype).cast<std::string>(); }

std::string type_name(const py::handle& object) {
  return py::str(py::type::of(object).attr("__name__")).cast<std::string>();
}

void fail_dtype(const char* op, const char* name, const std::string& wanted, const std::string& got,
                const char* module) {
  throw py::type_error(where(op, name) + "must be " + wanted + ", got " + got + "; cast it with " +
                       name + ".astype(" + module + "." + wanted + ")");
}

namespace {

std::string index_text(int64_t i, const Shape& shape) {
  if (shape.empty()) return "";
  Shape place(shape.size());
  for (std::size_t axis = shape.size(); axis-- > 0; i /= shape[axis]) place[axis] = i % shape[axis];
  std::string s = "[";
  for (std::size_t axis = 0; axis < place.size(); ++axis) {
    if (axis > 0) s += ", ";
    s += std::to_string(place[axis]);
  }
  return s + "]";
}

}  // namespace

void fail_label(const char* op, int64_t i, const Shape& shape, const std::string& label,
                int64_t classes, int64_t ignore_index) {
  fail(op, "target" + index_text(i, shape) + " = " + label + " is not a class: input has " +
               std::to_string(classes) + " classes, counted from 0, and ignore_index is " +
               std::to_string(ignore_index));
}

void NamedShape::expect_ndim(int64_t ndim, const char* layout) const {
  if (this->ndim() != ndim) {
    fail(op_, std::string(name_) + " must have " + std::to_string(ndim) + " dimensions " + layout +
                  ", got " + std::to_string(this->ndim()) + " with shape " + text(shape_));
  }
}

void NamedShape::expect_shape(const Shape& shape, const char* why) const {
  if (shape_ != shape) {
    fail(op_, std::string(name_) + " must have shape " + text(shape) + " (" + why + "), got " +
                  text(shape_));
  }
}

void NamedShape::set_shape(Shape shape) {
  shape_ = std::move(shape);
  size_ = 1;
  for (const int64_t n : shape_) size_ *= n;
}

}  // namespace striate::bindings
