// How every kernel is launched: Op names the op and its sizes, so that an error can, too.
//
//   const Op op("relu_forward", {{"n", n}}, {.bytes = 8.0 * n});
//   op.launch({blocks(n, 256), 256}, relu_kernel, y, x, n);
//
// STRIATE_SYNC=1 waits after each launch, so that a kernel's failure is reported by its own op.
// STRIATE_VERBOSE=1 waits, too, and prints a line for every op, as cpu::Trace does.
#pragma once

#include <cuda_runtime.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

namespace striate::cuda {

/// A CUDA call that failed; the message names the op and its sizes.
struct CudaError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Where the ops of this thread run, and where their scratch comes from: the bindings set it around
/// each call. By default the legacy stream, and the runtime's stream-ordered allocator.
struct Session {
  cudaStream_t stream = nullptr;
  void* (*allocate)(std::size_t bytes, cudaStream_t stream);
  void (*release)(void* block, cudaStream_t stream);
};
Session& session();

/// Kernel scratch: uninitialised floats, given back in the stream's order at the end of the scope.
class Scratch {
 public:
  explicit Scratch(int64_t floats) {  // nullptr for none
    if (floats > 0) {
      const std::size_t bytes = static_cast<std::size_t>(floats) * sizeof(float);
      data_ = static_cast<float*>(session().allocate(bytes, session().stream));
    }
  }
  ~Scratch() {
    if (data_ != nullptr) session().release(data_, session().stream);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* get() const { return data_; }
  /// The same bytes as `T`s; `floats` was chosen to hold them.
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  float* data_ = nullptr;
};

/// Blocks, threads of a block, and bytes of dynamic shared memory (sizeof what shared_memory<T>
/// returns in the kernel).
struct Grid {
  dim3 blocks, threads;
  std::size_t shared = 0;
};

/// ceil(items / each), for grids: at least 1.
inline unsigned blocks(int64_t items, int64_t each) {
  return static_cast<unsigned>(items > 0 ? (items + each - 1) / each : 1);
}

class Op {
 public:
  /// "N=64": the sizes that make the cost, by the names that the op's contract has for them.
  struct Size {
    const char* name;
    int64_t value;
  };
  /// What one call does; `bytes`: each array once.
  struct Amount {
    double flop = 0, bytes = 0;
  };

  /// `algorithm` is the name of one that was chosen, nullptr where there is but one.
  Op(const char* name, std::initializer_list<Size> sizes, Amount amount,
     const char* algorithm = nullptr);
  ~Op();
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;

  /// Launches `kernel` on the session's stream. `args` are converted as a call would.
  template <class... Params, class... Args>
  void launch(const Grid& grid, void (*kernel)(Params...), Args&&... args) const {
    static_assert(sizeof...(Params) == sizeof...(Args), "one argument for each parameter");
    std::tuple<std::remove_cv_t<Params>...> values(std::forward<Args>(args)...);
    std::apply(
        [&](auto&... value) {
          void* pointers[] = {const_cast<void*>(static_cast<const void*>(&value))..., nullptr};
          if (grid.shared > kSharedByDefault) {
            check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                       cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(grid.shared)));
          }
          check(cudaLaunchKernel(kernel, grid.blocks, grid.threads, pointers, grid.shared,
                                 session().stream));
        },
        values);
    finish();
  }

  /// Writes `bytes` zero bytes, in the stream's order.
  void clear(void* to, std::size_t bytes) const;

  /// Throws CudaError, which names the op, unless `error` is cudaSuccess.
  void check(cudaError_t error) const {
    if (error != cudaSuccess) fail(error);
  }

 private:
  static constexpr std::size_t kSharedByDefault = 48 << 10;

  void finish() const;  // STRIATE_SYNC
  [[noreturn]] void fail(cudaError_t error) const;
  std::string text() const;

  static constexpr int kMostSizes = 20;
  const char* name_;
  Size sizes_[kMostSizes];
  int count_ = 0;
  Amount amount_;
  const char* algorithm_;
  bool speaks_ = false;
  std::chrono::steady_clock::time_point started_;
};

/// Multiprocessors of the current device.
int multiprocessors();
/// 10 * major + minor of the current device's compute capability: 90.
int compute_capability();
/// "9.0"
std::string capability_text(int capability);

}  // namespace striate::cuda
