// The machine: which GPU, driver and runtime there are, and the precision of products.
#include <cuda_runtime.h>

#include <string>

#include "cuda/launch.h"
#include "cuda/precision.h"
#include "ops_cuda.h"

namespace striate::bindings {
namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// "" where a GPU can be used, else one clause that says why not.
std::string why_unavailable() {
  int driver = 0, runtime = 0, count = 0;
  cudaRuntimeGetVersion(&runtime);
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return "no NVIDIA driver is loaded; install one for CUDA " + version_text(runtime) +
           " or newer";
  }
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error == cudaErrorInsufficientDriver) {
    return "the NVIDIA driver is for CUDA " + version_text(driver) +
           ", and this build needs one for " + version_text(runtime) + " or newer; install that";
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && count == 0)) {
    return "the driver finds no GPU; look at nvidia-smi, and whether CUDA_VISIBLE_DEVICES hides it";
  }
  if (error != cudaSuccess) return cudaGetErrorString(error);
  return "";
}

cuda::Precision precision_of(const std::string& name) {
  if (name == "float32") return cuda::Precision::float32;
  if (name == "tf32") return cuda::Precision::tf32;
  if (name == "bf16") return cuda::Precision::bf16;
  throw py::value_error("set_precision: precision must be 'float32', 'tf32' or 'bf16', got '" +
                        name + "'");
}

}  // namespace

void register_device(py::module_& m) {
  m.def("why_unavailable", &why_unavailable);
  m.def("architectures", [] { return std::string(STRIATE_CUDA_ARCHITECTURES); });
  m.def("runtime_version", [] {
    int version = 0;
    cudaRuntimeGetVersion(&version);
    return version_text(version);
  });
  m.def("driver_version", [] {
    int version = 0;
    cudaDriverGetVersion(&version);
    return version_text(version);
  });
  m.def("device_count", [] {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    return error == cudaSuccess ? count : 0;
  });
  m.def(
      "device_name",
      [](int device) {
        cudaDeviceProp properties;
        if (cudaGetDeviceProperties(&properties, device) != cudaSuccess) {
          cudaGetLastError();
          throw py::value_error("there is no device cuda:" + std::to_string(device));
        }
        return std::string(properties.name);
      },
      py::arg("device"));
  m.def(
      "compute_capability",
      [](int device) {
        int major = 0, minor = 0;
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
        return std::to_string(major) + "." + std::to_string(minor);
      },
      py::arg("device"));
  m.def(
      "set_precision", [](const std::string& name) { cuda::set_precision(precision_of(name)); },
      py::arg("name"));
  m.def("get_precision", [] { return cuda::name_of(cuda::precision()); });
}

}  // namespace striate::bindings
