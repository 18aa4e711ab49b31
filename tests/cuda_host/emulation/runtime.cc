// The device, its memory, its errors, and which launches it takes.
#include "runtime.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>

#include "execution.h"
#include "launch.h"
#include "stream.h"

namespace striate::cuda_host {
namespace {

constexpr std::size_t kSharedByDefault = 48 << 10, kMostShared = 227 << 10;
constexpr unsigned kMostThreads = 1024;

thread_local cudaError_t last_error = cudaSuccess;
thread_local int current_device = 0;

struct Memory {
  std::mutex lock;
  std::unordered_map<void*, std::size_t> blocks;
  std::size_t bytes = 0;
  std::unordered_map<const void*, std::size_t> most_shared;  // of each kernel
};
Memory& memory() {
  static Memory memory;
  return memory;
}

std::atomic<unsigned long long> launch_count = 0;

std::size_t most_shared(const void* kernel) {
  const std::lock_guard lock(memory().lock);
  const auto found = memory().most_shared.find(kernel);
  return found == memory().most_shared.end() ? kSharedByDefault : found->second;
}

bool is_device(int number) { return number >= 0 && number < device().count; }

cudaError_t check(const Launch& launch) {
  const dim3 &grid = launch.grid, &block = launch.block;
  if (device().count == 0) return cudaErrorNoDevice;
  if (launch.kernel == nullptr) return cudaErrorInvalidDeviceFunction;
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || block.x < 1 || block.y < 1 || block.z < 1 ||
      grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || block.x > 1024 ||
      block.y > 1024 || block.z > 64 || block.x * block.y * block.z > kMostThreads) {
    return cudaErrorInvalidConfiguration;
  }
  if (launch.shared > most_shared(launch.kernel)) return cudaErrorInvalidValue;
  return cudaSuccess;
}

}  // namespace

cudaError_t note(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

Device& device() {
  static Device device;
  return device;
}

std::size_t allocated_bytes() {
  const std::lock_guard lock(memory().lock);
  return memory().bytes;
}

std::size_t allocated_blocks() {
  const std::lock_guard lock(memory().lock);
  return memory().blocks.size();
}

unsigned long long launches() { return launch_count; }

cudaError_t submit(Launch launch, cudaStream_t stream) {
  const cudaError_t error = check(launch);
  if (error != cudaSuccess) return note(error);
  return enqueue(
      [launch = std::move(launch)] {
        ++launch_count;
        return run(launch);
      },
      stream);
}

cudaError_t allocate(void** to, std::size_t bytes) {
  *to = nullptr;
  if (bytes == 0) return cudaSuccess;
  const std::lock_guard lock(memory().lock);
  if (bytes > device().memory || memory().bytes > device().memory - bytes ||
      posix_memalign(to, 256, bytes) != 0) {
    return cudaErrorMemoryAllocation;
  }
  std::memset(*to, 0xFF, bytes);
  memory().blocks[*to] = bytes;
  memory().bytes += bytes;
  return cudaSuccess;
}

cudaError_t release(void* block) {
  if (block == nullptr) return cudaSuccess;
  const std::lock_guard lock(memory().lock);
  const auto found = memory().blocks.find(block);
  if (found == memory().blocks.end()) return cudaErrorInvalidValue;
  memory().bytes -= found->second;
  memory().blocks.erase(found);
  std::free(block);
  return cudaSuccess;
}

}  // namespace striate::cuda_host

using namespace striate::cuda_host;

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
#define STRIATE_NAME(name) \
  case name:               \
    return #name
    STRIATE_NAME(cudaSuccess);
    STRIATE_NAME(cudaErrorInvalidValue);
    STRIATE_NAME(cudaErrorMemoryAllocation);
    STRIATE_NAME(cudaErrorInvalidConfiguration);
    STRIATE_NAME(cudaErrorInsufficientDriver);
    STRIATE_NAME(cudaErrorInvalidDeviceFunction);
    STRIATE_NAME(cudaErrorNoDevice);
    STRIATE_NAME(cudaErrorInvalidDevice);
    STRIATE_NAME(cudaErrorNoKernelImageForDevice);
    STRIATE_NAME(cudaErrorInvalidResourceHandle);
    STRIATE_NAME(cudaErrorNotReady);
    STRIATE_NAME(cudaErrorIllegalAddress);
    STRIATE_NAME(cudaErrorLaunchOutOfResources);
    STRIATE_NAME(cudaErrorLaunchFailure);
    STRIATE_NAME(cudaErrorNotSupported);
    STRIATE_NAME(cudaErrorStreamCaptureUnsupported);
    STRIATE_NAME(cudaErrorStreamCaptureInvalidated);
    STRIATE_NAME(cudaErrorStreamCaptureUnmatched);
    STRIATE_NAME(cudaErrorStreamCaptureImplicit);
    STRIATE_NAME(cudaErrorStreamCaptureWrongThread);
    STRIATE_NAME(cudaErrorUnknown);
#undef STRIATE_NAME
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
      return "invalid device ordinal";
    case cudaErrorNoKernelImageForDevice:
      return "no kernel image is available for execution on the device";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
      return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureImplicit:
      return "operation would make the legacy stream depend on a capturing blocking stream";
    case cudaErrorLaunchFailure: {
      thread_local std::string text;  // which the caller may keep for a while
      text = "unspecified launch failure: " + fault_message();
      return text.c_str();
    }
    default:
      return cudaGetErrorName(error);
  }
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = device().count;
  return note(*count > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaGetDevice(int* current) {
  *current = current_device;
  return note(device().count > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int number) {
  if (!is_device(number)) return note(cudaErrorInvalidDevice);
  current_device = number;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int number) {
  if (!is_device(number)) return note(cudaErrorInvalidDevice);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = kMostThreads;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = kSharedByDefault;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = kMostShared;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = kMostShared + 1024;
      return cudaSuccess;
    case cudaDevAttrWarpSize:
      *value = warpSize;
      return cudaSuccess;
    case cudaDevAttrClockRate:
      *value = 1'000'000;
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = device().multiprocessors;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = device().major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = device().minor;
      return cudaSuccess;
  }
  return note(cudaErrorInvalidValue);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int number) {
  if (!is_device(number)) return note(cudaErrorInvalidDevice);
  *properties = {};
  std::strcpy(properties->name, "host");
  properties->totalGlobalMem = device().memory;
  properties->sharedMemPerBlock = kSharedByDefault;
  properties->sharedMemPerBlockOptin = kMostShared;
  properties->warpSize = warpSize;
  properties->maxThreadsPerBlock = kMostThreads;
  properties->multiProcessorCount = device().multiprocessors;
  properties->major = device().major;
  properties->minor = device().minor;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = device().driver;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = device().runtime;
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = device().memory;
  *free = *total - std::min(*total, allocated_bytes());
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<std::size_t>(value) > kMostShared) {
    return note(cudaErrorInvalidValue);
  }
  const std::lock_guard lock(memory().lock);
  memory().most_shared[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}
