// One bounded, thread-safe pool for output arrays and kernel scratch.
//
// A training step asks for the same sizes again and again. Blocks that come back are kept and
// handed out again, so that the steady state neither calls the system nor faults fresh pages in.
#pragma once

#include <cstddef>
#include <cstdint>

namespace striate::cpu {

constexpr std::size_t kAlignment = 64;  // a cache line, and the widest vector

/// At least `bytes` of uninitialised memory, aligned to kAlignment. Throws a
/// std::bad_alloc that says how many bytes could not be had.
void* allocate(std::size_t bytes);

/// Gives back what allocate returned; nullptr is allowed.
void release(void* block) noexcept;

/// Frees every block that nobody uses. Under AddressSanitizer nothing is ever kept.
void empty_cache() noexcept;

/// Bytes that are kept for later use, at most kCacheLimit.
std::size_t cached_bytes() noexcept;
constexpr std::size_t kCacheLimit = std::size_t{1} << 30;

/// Kernel scratch: uninitialised floats from the pool, given back at the end of the scope.
class Scratch {
 public:
  explicit Scratch(int64_t floats)
      : data_(static_cast<float*>(allocate(static_cast<std::size_t>(floats) * sizeof(float)))) {}
  ~Scratch() { release(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* get() const { return data_; }

 private:
  float* data_;
};

}  // namespace striate::cpu
