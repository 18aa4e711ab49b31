// What the stand-in for CuPy calls beside the CUDA runtime itself.
#include "emulation/execution.h"
#include "emulation/runtime.h"

using namespace striate::cuda_host;

extern "C" {

cudaError_t striate_cuda_host_record(cudaStream_t stream, void (*work)(void*), void* data) {
  return record([=] { work(data); }, stream);
}

/// 0 forward, 1 reversed, 2 shuffled.
void striate_cuda_host_set_order(int order, uint64_t seed) {
  set_order(static_cast<Order>(order), seed);
}

void striate_cuda_host_set_device_count(int count) { device().count = count; }

/// 9, 0 for compute capability 9.0.
void striate_cuda_host_set_capability(int major, int minor) {
  device().major = major;
  device().minor = minor;
}
}
