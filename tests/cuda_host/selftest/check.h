// One line for every check, and what a launch needs in one line.
#pragma once

#include <cuda_runtime.h>

#include <cstring>
#include <shared.cuh>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace selftest {

using namespace striate::cuda_host;
using striate::cuda::shared_memory;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

/// Registers a check: `const Check a{"what holds", [] { expect(...); }};`
struct Check {
  const char* name;
  void (*body)();
  /// Not among those that run by default: it is to fail, or to end the process.
  bool fatal = false;
  Check(const char* name, void (*body)(), bool fatal = false);
};
std::vector<const Check*>& checks();

inline void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

inline void expect(cudaError_t error, cudaError_t wanted, const std::string& what) {
  if (error == wanted) return;
  throw std::runtime_error(what + ": " + cudaGetErrorString(error) + ", not " +
                           cudaGetErrorName(wanted));
}

template <class... P>
cudaError_t launch_on(cudaStream_t stream, dim3 blocks, dim3 threads, std::size_t shared,
                      void (*kernel)(P...), std::type_identity_t<P>... arguments) {
  void* pointers[] = {const_cast<void*>(static_cast<const void*>(&arguments))..., nullptr};
  return cudaLaunchKernel(kernel, blocks, threads, pointers, shared, stream);
}

template <class... P>
cudaError_t launch(dim3 blocks, dim3 threads, std::size_t shared, void (*kernel)(P...),
                   std::type_identity_t<P>... arguments) {
  return launch_on(nullptr, blocks, threads, shared, kernel, arguments...);
}

/// The launch is refused while it runs, and the report has each of `texts`.
template <class... P>
void expect_fault(std::vector<std::string> texts, dim3 blocks, dim3 threads, std::size_t shared,
                  void (*kernel)(P...), std::type_identity_t<P>... arguments) {
  const cudaError_t error = launch(blocks, threads, shared, kernel, arguments...);
  expect(error, cudaErrorLaunchFailure, "no fault");
  const std::string report = cudaGetErrorString(cudaGetLastError());
  for (const std::string& text : texts) {
    expect(report.find(text) != std::string::npos, "no '" + text + "' in: " + report);
  }
}

/// Device memory, freed at the end of the scope.
template <class T>
class Array {
 public:
  explicit Array(std::size_t count) : count_(count) { cudaMalloc(&data_, count * sizeof(T)); }
  ~Array() { cudaFree(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* data() const { return data_; }
  T& operator[](std::size_t i) const { return data_[i]; }
  std::vector<T> values() const { return {data_, data_ + count_}; }

 private:
  T* data_ = nullptr;
  std::size_t count_;
};

/// Calls f in every order, and leaves the order forward.
template <class F>
void in_every_order(F f) {
  set_order(Order::forward);
  f();
  set_order(Order::reversed);
  f();
  for (uint64_t seed = 0; seed < 8; ++seed) {
    set_order(Order::shuffled, seed);
    f();
  }
  set_order(Order::forward);
}

}  // namespace selftest
