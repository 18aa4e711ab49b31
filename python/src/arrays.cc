#include "arrays.h"

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

namespace {

std::string dtype_name(const py::dtype& dtype) { return py::str(dtype).cast<std::string>(); }

// A NumPy array itself, no subclass of it.
bool is_ndarray(const py::handle& object) {
  return Py_TYPE(object.ptr()) == py::detail::npy_api::get().PyArray_Type_;
}

std::string where(const char* op, const char* name) { return std::string(op) + ": " + name + " "; }

}  // namespace

py::array as_array(const py::handle& object, const char* op, const char* name) {
  if (py::isinstance<py::array>(object)) {
    if (!is_ndarray(object) && py::hasattr(object, "mask")) {
      throw py::type_error(where(op, name) +
                           "is a masked array, whose mask would be lost; pass its filled() values");
    }
    return py::reinterpret_borrow<py::array>(object);
  }
  if (py::hasattr(object, "__dlpack__")) {
    return py::module_::import("numpy").attr("from_dlpack")(object).cast<py::array>();
  }
  if (PyObject_CheckBuffer(object.ptr()) != 0 && !py::isinstance<py::bytes>(object)) {
    return py::module_::import("numpy")
        .attr("asarray")(py::memoryview(py::reinterpret_borrow<py::object>(object)))
        .cast<py::array>();
  }
  throw py::type_error(where(op, name) + "must be a NumPy array, got " +
                       std::string(py::str(py::type::of(object).attr("__name__"))));
}

namespace {

template <class T>
void check_dtype(const py::array& array, const char* op, const char* name) {
  const py::dtype wanted = py::dtype::of<T>();
  if (array.dtype().is(wanted) || array.dtype().equal(wanted)) return;
  throw py::type_error(where(op, name) + "must be " + dtype_name(wanted) + ", got " +
                       dtype_name(array.dtype()) + "; cast it with " + name + ".astype(numpy." +
                       dtype_name(wanted) + ")");
}

constexpr int kWritable = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ |
                          py::detail::npy_api::NPY_ARRAY_ALIGNED_ |
                          py::detail::npy_api::NPY_ARRAY_WRITEABLE_;

Shape shape_of(const py::array& array) {
  return Shape(array.shape(), array.shape() + array.ndim());
}

}  // namespace

template <class T>
Input<T>::Input(const py::handle& object, const char* op, const char* name)
    : op_(op), name_(name), array_(as_array(object, op, name)) {
  check_dtype<T>(array_, op, name);
  constexpr int kReadable =
      py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if ((array_.flags() & kReadable) != kReadable) {  // the documented copy of a strided view
    array_ = py::array_t<T, py::array::c_style>(
        py::module_::import("numpy").attr("array")(array_, py::arg("order") = "C"));
  }
  shape_ = shape_of(array_);
}

template <class T>
const Input<T>& Input<T>::expect_ndim(int64_t ndim, const char* layout) const {
  if (this->ndim() != ndim) {
    fail(op_, std::string(name_) + " must have " + std::to_string(ndim) + " dimensions " + layout +
                  ", got " + std::to_string(this->ndim()) + " with shape " + text(shape_));
  }
  return *this;
}

template <class T>
const Input<T>& Input<T>::expect_shape(const Shape& shape, const char* why) const {
  if (shape_ != shape) {
    fail(op_, std::string(name_) + " must have shape " + text(shape) + " (" + why + "), got " +
                  text(shape_));
  }
  return *this;
}

template <class T>
OptionalInput<T>::OptionalInput(const py::handle& object, const char* op, const char* name) {
  if (!object.is_none()) input_.emplace_back(object, op, name);
}

template <class T>
InPlace<T>::InPlace(const py::handle& object, const char* op, const char* name) {
  if (!py::isinstance<py::array>(object)) {
    throw py::type_error(where(op, name) + "must be a NumPy array, got " +
                         std::string(py::str(py::type::of(object).attr("__name__"))));
  }
  array_ = py::reinterpret_borrow<py::array>(object);
  check_dtype<T>(array_, op, name);
  if ((array_.flags() & kWritable) != kWritable) {
    throw py::value_error(where(op, name) +
                          "is changed in place, so it must be writeable and C-contiguous");
  }
}

template <class T>
bool is_plain(const py::handle& object) {
  if (!is_ndarray(object)) return false;
  const auto array = py::reinterpret_borrow<py::array>(object);
  return array.dtype().is(py::dtype::of<T>()) && (array.flags() & kWritable) == kWritable;
}

template class Input<float>;
template class Input<double>;
template class Input<int32_t>;
template class Input<int64_t>;
template class Input<uint8_t>;
template class OptionalInput<float>;
template class OptionalInput<double>;
template class InPlace<float>;
template class InPlace<double>;
template bool is_plain<float>(const py::handle&);
template bool is_plain<double>(const py::handle&);

}  // namespace striate::bindings
