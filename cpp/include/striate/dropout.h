// dropout: inverted (Srivastava et al. 2014; scaled while training, so inference does nothing).
//
//   y_i = keep_i ? x_i / (1 - p) : 0        keep_i = word_i >= floor(p * 2^32)
//
// and dx is the same function of dy: nothing is saved, the mask is drawn again. With p = 1, y = 0.
// word_i is word i % 4 of philox4x32-10(counter = (i / 4, call, step, 0), key = (seed mod 2^32,
// seed / 2^32)) (Salmon et al. 2011). i counts the elements of the whole batch in NCHW order,
// from `offset` in this part of it: which units drop depends on neither layout nor vector width nor
// on how a batch is split. offset + n <= 2^34, so that i / 4 fits its word.
// y may be x. Outputs are written, not accumulated; a NaN that is dropped becomes 0.
#pragma once

#include <cstdint>

namespace striate {

struct DropoutKey {
  uint64_t seed;
  uint32_t call, step;
};

namespace reference {
/// The four words of one counter.
void philox4x32_10(uint32_t words[4], const uint32_t counter[4], const uint32_t key[2]);

template <class T>
void dropout(T* y, const T* x, int64_t n, double p, const DropoutKey& key, int64_t offset);
}  // namespace reference

namespace cpu {
void dropout(float* y, const float* x, int64_t n, double p, const DropoutKey& key, int64_t offset);
}  // namespace cpu

namespace cuda {
void dropout(float* y, const float* x, int64_t n, double p, const DropoutKey& key, int64_t offset);
/// The same with `step`, read from the device when the op runs, in the place of key.step: a recorded
/// step draws new masks.
void dropout(float* y, const float* x, int64_t n, double p, const DropoutKey& key, int64_t offset,
             const uint32_t* step);
}  // namespace cuda

}  // namespace striate
