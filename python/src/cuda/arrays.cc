#include "arrays.h"

#include <cuda_runtime.h>
#include <pybind11/gil_safe_call_once.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <utility>

#include "cuda/launch.h"
#include "striate/cross_entropy.h"

namespace striate::bindings {
namespace {

// What is used of CuPy, looked up once.
struct Cupy {
  py::object ndarray, empty, asarray, from_dlpack, ascontiguousarray, alloc, current_stream;
  py::object out_of_memory, mem_info, device;
};

const Cupy& cupy() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<Cupy> stored;
  return stored
      .call_once_and_store_result([] {
        const auto module = py::module_::import("cupy");
        const py::object cuda = module.attr("cuda");
        return Cupy{.ndarray = module.attr("ndarray"),
                    .empty = module.attr("empty"),
                    .asarray = module.attr("asarray"),
                    .from_dlpack = module.attr("from_dlpack"),
                    .ascontiguousarray = module.attr("ascontiguousarray"),
                    .alloc = cuda.attr("alloc"),
                    .current_stream = cuda.attr("get_current_stream"),
                    .out_of_memory = cuda.attr("memory").attr("OutOfMemoryError"),
                    .mem_info = cuda.attr("runtime").attr("memGetInfo"),
                    .device = cuda.attr("runtime").attr("getDevice")};
      })
      .get_stored();
}

std::string device_text(int64_t id) { return "cuda:" + std::to_string(id); }

// CuPy's: this extension has a CUDA runtime of its own, which follows.
int current_device() { return cupy().device().cast<int>(); }

void check_device(const Array& array, const char* op, const char* name) {
  const int64_t device = array.attr("device").attr("id").cast<int64_t>();
  if (device == current_device()) return;
  throw py::value_error(where(op, name) + "is on " + device_text(device) +
                        ", but the current device is " + device_text(current_device()) +
                        "; move it, or work inside `with cupy.cuda.Device(" +
                        std::to_string(device) + "):`");
}

[[noreturn]] void fail_host(const char* op, const char* name, const char* what) {
  throw py::type_error(where(op, name) + "is on the CPU (" + what +
                       "), but the first array of the call is on " + device_text(current_device()) +
                       "; move one of them");
}

// DLPack's numbers of kinds of memory.
constexpr int64_t kHost = 1, kCuda = 2, kManaged = 13;

[[noreturn]] void fail_memory(std::size_t bytes) {
  const auto [free, total] = cupy().mem_info().cast<std::pair<std::size_t, std::size_t>>();
  PyErr_Format(PyExc_MemoryError,
               "%zu bytes were asked of the GPU, where %zu of %zu are free (and what CuPy's pool "
               "keeps: cupy.get_default_memory_pool().free_all_blocks() gives it back)",
               bytes, free, total);
  throw py::error_already_set();
}

template <class Call>
auto allocated(std::size_t bytes, const Call& call) {
  try {
    return call();
  } catch (py::error_already_set& error) {
    if (!error.matches(cupy().out_of_memory)) throw;
  }
  fail_memory(bytes);
}

// Scratch of the ops under way in this thread: CuPy's owners of its blocks.
thread_local std::vector<std::pair<void*, py::object>> scratch;

void* allocate(std::size_t bytes, cudaStream_t) {
  const py::gil_scoped_acquire gil;
  py::object block = allocated(bytes, [&] { return cupy().alloc(bytes); });
  void* const address = reinterpret_cast<void*>(block.attr("ptr").cast<std::uintptr_t>());
  scratch.emplace_back(address, std::move(block));
  return address;
}

// In the order of the stream: CuPy gives the block to later work of the same stream only.
void release(void* address, cudaStream_t) {
  const py::gil_scoped_acquire gil;
  const auto last = std::find_if(scratch.rbegin(), scratch.rend(),
                                 [&](const auto& entry) { return entry.first == address; });
  if (last != scratch.rend()) scratch.erase(std::next(last).base());
}

template <class T>
constexpr const char* kDtype = nullptr;
template <>
constexpr const char* kDtype<float> = "float32";
template <>
constexpr const char* kDtype<double> = "float64";
template <>
constexpr const char* kDtype<int32_t> = "int32";
template <>
constexpr const char* kDtype<int64_t> = "int64";
template <>
constexpr const char* kDtype<uint32_t> = "uint32";

template <class T>
void check_dtype(const Array& array, const char* op, const char* name) {
  const std::string dtype = dtype_of(array);
  if (dtype != kDtype<T>) fail_dtype(op, name, kDtype<T>, dtype, "cupy");
}

bool is_contiguous(const Array& array) {
  return array.attr("flags").attr("c_contiguous").cast<bool>();
}

}  // namespace

Array as_array(const py::handle& object, const char* op, const char* name) {
  if (py::isinstance(object, cupy().ndarray)) {
    auto array = py::reinterpret_borrow<Array>(object);
    check_device(array, op, name);
    return array;
  }
  if (py::isinstance<py::array>(object)) fail_host(op, name, "a NumPy array");
  if (py::hasattr(object, "__dlpack_device__")) {  // a tensor of torch's, without a copy
    const auto [kind, id] = object.attr("__dlpack_device__")().cast<std::pair<int64_t, int64_t>>();
    if (kind != kCuda && kind != kManaged) {
      fail_host(op, name, type_name(object).c_str());
    }
    Array array = cupy().from_dlpack(object);
    check_device(array, op, name);
    return array;
  }
  if (py::hasattr(object, "__cuda_array_interface__")) {
    Array array = cupy().asarray(object);
    check_device(array, op, name);
    return array;
  }
  throw py::type_error(where(op, name) + "must be a CuPy array, got " + type_name(object));
}

Shape shape_of(const Array& array) {
  const py::tuple sizes = array.attr("shape");
  Shape shape;
  for (const py::handle size : sizes) shape.push_back(size.cast<int64_t>());
  return shape;
}

char kind_of(const Array& array) { return array.attr("dtype").attr("kind").cast<std::string>()[0]; }

std::string dtype_of(const Array& array) { return dtype_name(array.attr("dtype")); }

void* address_of(const Array& array) {
  return reinterpret_cast<void*>(array.attr("data").attr("ptr").cast<std::uintptr_t>());
}

template <class T>
Input<T>::Input(const py::handle& object, const char* op, const char* name)
    : NamedShape(op, name), array_(as_array(object, op, name)) {
  check_dtype<T>(array_, op, name);
  if (!is_contiguous(array_)) array_ = cupy().ascontiguousarray(array_);  // the documented copy
  set_shape(shape_of(array_));
  data_ = static_cast<const T*>(address_of(array_));
}

template <class T>
InPlace<T>::InPlace(const py::handle& object, const char* op, const char* name) {
  array_ = as_array(object, op, name);
  check_dtype<T>(array_, op, name);
  if (!is_contiguous(array_)) {
    throw py::value_error(where(op, name) + "is changed in place, so it must be C-contiguous");
  }
  data_ = static_cast<T*>(address_of(array_));
  shape_ = shape_of(array_);
  size_ = 1;
  for (const int64_t n : shape_) size_ *= n;
}

Array empty(const Shape& shape, const char* dtype) {
  int64_t bytes = py::dtype(dtype).itemsize();
  for (const int64_t n : shape) bytes = checked_product({bytes, n}, "bytes of the result");
  return allocated(static_cast<std::size_t>(bytes),
                   [&] { return Array(cupy().empty(py::cast(shape), dtype)); });
}

template <class T>
Output<T> output(const Shape& shape) {
  return Output<T>(empty(shape, kDtype<T>));
}

CurrentStream::CurrentStream() {
  const cudaError_t error = cudaSetDevice(current_device());
  if (error != cudaSuccess) throw cuda::CudaError(cudaGetErrorString(error));
  const auto stream = cupy().current_stream().attr("ptr").cast<std::uintptr_t>();
  cuda::session() = {reinterpret_cast<cudaStream_t>(stream), allocate, release};
}

CurrentStream::~CurrentStream() { cuda::session().stream = nullptr; }

template <class T>
void copy_elements(T* to, const T* from, int64_t n) {
  const cuda::Op op("copy", {{"n", n}}, {.bytes = 2.0 * sizeof(T) * n});
  op.check(cudaMemcpyAsync(to, from, static_cast<std::size_t>(n) * sizeof(T),
                           cudaMemcpyDeviceToDevice, cuda::session().stream));
}

bool is_capturing() {
  const auto stream = cupy().current_stream().attr("ptr").cast<std::uintptr_t>();
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cudaStreamIsCapturing(reinterpret_cast<cudaStream_t>(stream), &status);
  return status != cudaStreamCaptureStatusNone;
}

Labels::Labels(const Array& target, int64_t classes, int64_t ignore_index, const char* op,
               bool backward) {
  const bool wide = dtype_of(target) == "int64";
  array_ = wide && is_contiguous(target) ? target
                                         : cupy().ascontiguousarray(target.attr("astype")("int64"));
  data_ = static_cast<const int64_t*>(address_of(array_));
  const Shape shape = shape_of(array_);
  int64_t count = 1;
  for (const int64_t n : shape) count *= n;
  if (count == 0 || backward || is_capturing()) return;
  const CrossEntropy<float> problem{.sizes = {.outer = count, .classes = classes, .inner = 1},
                                    .labels = data_,
                                    .probabilities = nullptr,
                                    .weight = nullptr,
                                    .ignore_index = ignore_index,
                                    .label_smoothing = 0,
                                    .mean = false};
  const auto place =
      written<int64_t>({}, [&](int64_t* to) { cuda::cross_entropy_find_bad_label(to, problem); });
  const int64_t i = place.attr("item")().template cast<int64_t>();
  if (i < 0) return;
  const std::string label = py::str(target.attr("reshape")(-1)[py::int_(i)].attr("item")());
  fail_label(op, i, shape, label, classes, ignore_index);
}

template class Input<float>;
template class Input<int32_t>;
template class Input<uint32_t>;
template class InPlace<float>;
template Output<float> output<float>(const Shape&);
template Output<double> output<double>(const Shape&);
template Output<int32_t> output<int32_t>(const Shape&);
template Output<int64_t> output<int64_t>(const Shape&);
template void copy_elements<float>(float*, const float*, int64_t);

}  // namespace striate::bindings
