// When gemm goes Hopper's way. Estimates, from the vendor's rates of an H100: the matrix
// instructions of a warpgroup save about 1 to 1.5 fs a FLOP against those of a warp, and an element
// that has to be copied first (prepare.h) costs about 2.5 ps, for the 6 to 8 bytes that move.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "cuda/hopper/gemm.h"
#include "cuda/launch.h"

namespace striate::cuda {
namespace {

constexpr double kFlopForACopy = 2048;  // of an element
constexpr double kLeastFlop = 1e9;      // which take a few microseconds, as launches do

bool switched_on() {
  static const bool on = [] {
    const char* const value = std::getenv("STRIATE_CUDA_HOPPER");
    return value != nullptr && *value != '\0' && std::string(value) != "0";
  }();
  return on;
}

bool pays(const GemmShape& s, bool copies_a, bool copies_b) {
  const double flop = 2.0 * s.M * s.N * s.K;
  const double copied = (copies_a ? 1.0 * s.M * s.K : 0) + (copies_b ? 1.0 * s.N * s.K : 0);
  return s.M >= 128 && s.N >= 128 && s.K >= 128 && flop >= kLeastFlop &&
         flop >= kFlopForACopy * copied;
}

// Tiles and coordinates are counted in int.
bool fits(const GemmShape& s) {
  constexpr int64_t kMost = int64_t{1} << 30, kMostOfC = int64_t{1} << 40;
  return s.M <= kMost && s.N <= kMost && s.K <= kMost && s.M * s.N <= kMostOfC;
}

}  // namespace

bool hopper_gemm_takes(const GemmShape& s, const float* A, const float* B, Precision p) {
  if (!switched_on() || p == Precision::float32) return false;
  const auto aligned = [](const float* data, int64_t ld) {
    return reinterpret_cast<uintptr_t>(data) % 16 == 0 && ld % 4 == 0;
  };
  const bool bf16 = p == Precision::bf16;  // which is always a copy
  return fits(s) &&
         pays(s, bf16 || s.trans_a || !aligned(A, s.lda),
              bf16 || !s.trans_b || !aligned(B, s.ldb)) &&
         compute_capability() == 90;
}

}  // namespace striate::cuda
