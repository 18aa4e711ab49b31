#include "striate/dropout.h"

#include <cstring>

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/trace.h"

namespace striate::cpu {

void dropout(float* y, const float* x, int64_t n, double p, const DropoutKey& key, int64_t offset) {
  const Trace trace("dropout", {{"n", n}}, {.bytes = 8.0 * n});
  const Kernels& k = kernels();
  // 2^32, for p = 1, does not fit.
  const uint32_t threshold = p < 1 ? static_cast<uint32_t>(p * 4294967296.0) : 0;
  const float scale = static_cast<float>(1 / (1 - p));
  parallel_for(n, 8192, [&](int64_t begin, int64_t end) {
    if (p == 1) {
      std::memset(y + begin, 0, static_cast<std::size_t>(end - begin) * sizeof(float));
    } else {
      k.dropout(y + begin, x + begin, end - begin, threshold, scale, key, offset + begin);
    }
  });
}

}  // namespace striate::cpu
