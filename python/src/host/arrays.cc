#include "arrays.h"

namespace striate::bindings {

namespace {

// A NumPy array itself, no subclass of it.
bool is_ndarray(const py::handle& object) {
  return Py_TYPE(object.ptr()) == py::detail::npy_api::get().PyArray_Type_;
}

// What one call into the C API gives, which may run Python or release the GIL.
template <class Call>
py::object called(const Call& call) {
  PyObject* const result = stopping_at_exit(call);
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

py::array call_numpy(const char* function, const py::handle& argument) {
  const py::object f = py::module_::import("numpy").attr(function);
  return called([&] { return PyObject_CallOneArg(f.ptr(), argument.ptr()); });
}

// `array` itself where it is as `flags` want, else a copy that is.
template <class T>
py::array converted(const py::array& array, int flags) {
  PyObject* const dtype = py::dtype::of<T>().release().ptr();
  const auto from_any = py::detail::npy_api::get().PyArray_FromAny_;
  return called([&] { return from_any(array.ptr(), dtype, 0, 0, flags, nullptr); });
}

// DLPack's number of host memory.
constexpr int64_t kHost = 1;

// TypeError for memory of another device; both are named.
void check_is_host(const py::handle& object, const char* op, const char* name) {
  if (!py::hasattr(object, "__dlpack_device__")) return;
  const py::object found =
      called([&] { return PyObject_CallMethod(object.ptr(), "__dlpack_device__", nullptr); });
  const auto [kind, id] = found.cast<std::pair<int64_t, int64_t>>();
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
    return call_numpy("from_dlpack", object);
  }
  if (PyObject_CheckBuffer(object.ptr()) != 0 && !py::isinstance<py::bytes>(object)) {
    return call_numpy("asarray", py::memoryview(py::reinterpret_borrow<py::object>(object)));
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
    array_ = converted<T>(array_, kReadable | py::detail::npy_api::NPY_ARRAY_ENSUREARRAY_);
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
  const py::array cast = converted<int64_t>(
      target, py::array::c_style | py::array::forcecast | py::detail::npy_api::NPY_ARRAY_ALIGNED_ |
                  py::detail::npy_api::NPY_ARRAY_ENSUREARRAY_);
  const auto* const first = static_cast<const int64_t*>(cast.data());
  labels_.assign(first, first + cast.size());
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
