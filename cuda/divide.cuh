// From a thread's number to its place in an array, without the slow integer divisions of a GPU.
//
// A division by a number that the whole launch shares is a multiplication and two shifts
// (Granlund, Montgomery: Division by invariant integers using multiplication, 1994), in 32 bits. An
// array with more places than those count is walked by several launches; only what is added once
// per thread is 64 bits wide.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

namespace striate::cuda {

/// n / divisor for every 32-bit n.
class Divide {
 public:
  explicit Divide(int64_t divisor) : divisor_(static_cast<unsigned>(divisor)) {  // 1 to 2^32 - 1
    int bits = 0;  // ceil(log2(divisor))
    while ((uint64_t{1} << bits) < divisor_) ++bits;
    const uint64_t excess = (uint64_t{1} << bits) - divisor_;
    factor_ = static_cast<unsigned>((excess << 32) / divisor_ + 1);
    first_shift_ = bits > 0 ? 1 : 0;
    second_shift_ = bits > 0 ? bits - 1 : 0;
  }

  __device__ unsigned operator()(unsigned n) const {
    const unsigned high = __umulhi(n, factor_);
    return (high + ((n - high) >> first_shift_)) >> second_shift_;
  }
  __device__ unsigned divisor() const { return divisor_; }

 private:
  unsigned divisor_, factor_;
  int first_shift_, second_shift_;
};

/// A place of an array (I, P, Q).
struct Place {
  int64_t i;
  unsigned p;
  int64_t q;
};

/// The places of one launch: whole rows of `width` columns, counted on through p and i.
struct Places {
  Divide P, width;
  int64_t i, q;       // of the first place
  unsigned p, count;  // of the first place; places

  __device__ Place operator()(unsigned number) const {
    const unsigned row = width(number), at = p + row, above = P(at);
    return {i + above, at - above * P.divisor(), q + (number - row * width.divisor())};
  }
};

/// launch(places) for all places of (I, P, Q); more than once only beyond 2^30 of them.
template <class Launch>
void for_all_places(int64_t I, int64_t P, int64_t Q, const Launch& launch) {
  constexpr int64_t kMost = int64_t{1} << 30;
  const int64_t rows = I * P;
  for (int64_t column = 0; column < Q; column += kMost) {
    const int64_t width = std::min(kMost, Q - column), most = std::max<int64_t>(1, kMost / width);
    for (int64_t row = 0; row < rows; row += most) {
      const int64_t count = std::min(most, rows - row);
      launch(Places{Divide(P), Divide(width), row / P, column, static_cast<unsigned>(row % P),
                    static_cast<unsigned>(count * width)});
    }
  }
}

}  // namespace striate::cuda
