#include "cuda/launch.h"

#include <cstdio>
#include <cstdlib>

namespace striate::cuda {
namespace {

bool set_in_environment(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0' && std::string(value) != "0";
}

bool synchronous() {
  static const bool on = set_in_environment("STRIATE_SYNC");
  return on;
}

bool verbose() {
  static const bool on = set_in_environment("STRIATE_VERBOSE");
  return on;
}

thread_local bool speaking = false;  // an op that called this one will speak

bool capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  return cudaStreamIsCapturing(stream, &status) == cudaSuccess &&
         status != cudaStreamCaptureStatusNone;
}

void* allocate(std::size_t bytes, cudaStream_t stream) {
  void* block = nullptr;
  const cudaError_t error = cudaMallocAsync(&block, bytes, stream);
  if (error != cudaSuccess) {
    cudaGetLastError();  // so that nobody takes it for a later launch's
    throw CudaError("scratch of " + std::to_string(bytes) + " bytes: " + cudaGetErrorString(error));
  }
  return block;
}

void release(void* block, cudaStream_t stream) { cudaFreeAsync(block, stream); }

int attribute(cudaDeviceAttr name) {
  int device = 0, value = 0;
  cudaError_t error = cudaGetDevice(&device);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&value, name, device);
  if (error != cudaSuccess) throw CudaError(cudaGetErrorString(error));
  return value;
}

}  // namespace

Session& session() {
  thread_local Session session{nullptr, allocate, release};
  return session;
}

int multiprocessors() { return attribute(cudaDevAttrMultiProcessorCount); }

int compute_capability() {
  return 10 * attribute(cudaDevAttrComputeCapabilityMajor) +
         attribute(cudaDevAttrComputeCapabilityMinor);
}

std::string capability_text(int capability) {
  return std::to_string(capability / 10) + "." + std::to_string(capability % 10);
}

Op::Op(const char* name, std::initializer_list<Size> sizes, Amount amount, const char* algorithm)
    : name_(name), amount_(amount), algorithm_(algorithm) {
  for (const Size& size : sizes) {
    if (count_ < kMostSizes) sizes_[count_++] = size;
  }
  if (verbose() && !speaking && !capturing(session().stream)) {
    speaking = speaks_ = true;
    cudaStreamSynchronize(session().stream);
    started_ = std::chrono::steady_clock::now();
  }
}

Op::~Op() {
  if (!speaks_) return;
  speaking = false;
  cudaStreamSynchronize(session().stream);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started_;
  const bool flop = amount_.flop > 0;
  const double rate = (flop ? amount_.flop : amount_.bytes) / taken.count() / 1e9;
  const std::string algorithm =
      algorithm_ == nullptr ? "" : std::string(" algorithm=") + algorithm_;
  std::fprintf(stderr, "striate: %s%s device=cuda us=%.1f %s=%.1f\n", text().c_str(),
               algorithm.c_str(), taken.count() * 1e6, flop ? "GFLOP/s" : "GB/s", rate);
}

void Op::clear(void* to, std::size_t bytes) const {
  check(cudaMemsetAsync(to, 0, bytes, session().stream));
  finish();
}

void Op::finish() const {
  if (synchronous() && !capturing(session().stream)) {
    check(cudaStreamSynchronize(session().stream));
  }
}

std::string Op::text() const {
  std::string text = name_;
  for (int i = 0; i < count_; ++i) {
    text += std::string(" ") + sizes_[i].name + "=" + std::to_string(sizes_[i].value);
  }
  return text;
}

void Op::fail(cudaError_t error) const {
  std::string what = cudaGetErrorString(error);
  if (error == cudaErrorNoKernelImageForDevice) {
    what = "this build of Striate has no code for GPUs of compute capability " +
           capability_text(compute_capability()) +
           "; `striate info` lists those it has, and installing it where the GPU is builds for it";
  }
  cudaGetLastError();  // so that the next op does not report it again, where it can go on
  throw CudaError(text() + ": " + what);
}

}  // namespace striate::cuda
