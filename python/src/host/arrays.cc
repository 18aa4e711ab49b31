#include "arrays.h"

namespace striate::bindings {

namespace {

// A NumPy array itself, no subclass of it.
bool is_ndarray(const py::handle& object) {
  return Py_TYPE(object.ptr()) == py::detail::npy_api::get().PyArray_Type_;
}

// DLPack's number of host memory.
constexpr int64_t kHost = 1;

// TypeError for memory of another device; both are named.
void check_is_host(const py::handle& object, const char* op, const char* name) {
  if (!py::hasattr(object, "__dlpack_device__")) return;
  const auto [kind, id] = object.attr("__dlpack_device__")().cast<std::pair<int64_t, int64_t>>();
  if (kind == kHost) return;
  const std::string device = kind == 2 ? "cuda:" + std::to_string(id) : "another device";
  throw py::type_error(where(op, name) + "is on " + device +
                       ", but the first array of the call is on the CPU; move one of them");
}

}  // namespace

Array as_array(const py::handle& object, const char* op, const char* name) {
  if (py::isinstance<py::array>(object)) {
    if (!is_ndarray(object) && py::hasattr(object, "mask")) {
      throw py::type_error(where(op, name) +
                           "is a masked array, whose mask would be lost; pass its filled() values");
    }
    return py::reinterpret_borrow<py::array>(object);
  }
  if (py::hasattr(object, "__dlpack__")) {
    check_is_host(object, op, name);
    return py::module_::import("numpy").attr("from_dlpack")(object).cast<py::array>();
  }
  if (PyObject_CheckBuffer(object.ptr()) != 0 && !py::isinstance<py::bytes>(object)) {
    return py::module_::import("numpy")
        .attr("asarray")(py::memoryview(py::reinterpret_borrow<py::object>(object)))
        .cast<py::array>();
  }
  throw py::type_error(where(op, name) + "must be a NumPy array, got " + type_name(object));
}

namespace {

template <class T>
void check_dtype(const py::array& array, const char* op, const char* name) {
  const py::dtype wanted = py::dtype::of<T>();
  if (array.dtype().is(wanted) || array.dtype().equal(wanted)) return;
  fail_dtype(op, name, dtype_name(wanted), dtype_of(array), "numpy");
}

constexpr int kWritable = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ |
                          py::detail::npy_api::NPY_ARRAY_ALIGNED_ |
                          py::detail::npy_api::NPY_ARRAY_WRITEABLE_;

}  // namespace

template <class T>
Input<T>::Input(const py::handle& object, const char* op, const char* name)
    : NamedShape(op, name), array_(as_array(object, op, name)) {
  check_dtype<T>(array_, op, name);
  constexpr int kReadable =
      py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if ((array_.flags() & kReadable) != kReadable) {  // the documented copy of a strided view
    array_ = py::array_t<T, py::array::c_style>(
        py::module_::import("numpy").attr("array")(array_, py::arg("order") = "C"));
  }
  set_shape(shape_of(array_));
}

template <class T>
InPlace<T>::InPlace(const py::handle& object, const char* op, const char* name) {
  if (!py::isinstance<py::array>(object)) {
    check_is_host(object, op, name);
    throw py::type_error(where(op, name) + "must be a NumPy array, got " + type_name(object));
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

Labels::Labels(const Array& target, int64_t classes, int64_t ignore_index, const char* op,
               bool /*backward: memory would be touched there, too*/) {
  constexpr int kFlags =
      py::array::c_style | py::array::forcecast | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  const py::array_t<int64_t, kFlags> cast(target);
  labels_.assign(cast.data(), cast.data() + cast.size());
  const bool wraps = kind_of(target) == 'u' && target.itemsize() == 8;
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    const int64_t t = labels_[i];
    if (t >= 0 && t < classes) continue;
    if (t == ignore_index && !(wraps && t < 0)) continue;
    fail_label(op, static_cast<int64_t>(i), shape_of(target),
               wraps ? std::to_string(static_cast<uint64_t>(t)) : std::to_string(t), classes,
               ignore_index);
  }
}

template class Input<float>;
template class Input<double>;
template class Input<int32_t>;
template class Input<int64_t>;
template class Input<uint8_t>;
template class InPlace<float>;
template class InPlace<double>;
template bool is_plain<float>(const py::handle&);
template bool is_plain<double>(const py::handle&);

}  // namespace striate::bindings
