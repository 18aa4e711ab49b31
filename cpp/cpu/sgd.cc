#include "striate/sgd.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/trace.h"

namespace striate::cpu {

// One parallel region for all tensors: a small net has many small ones, and waking the threads
// costs more than updating a bias.
void sgd_step(const SgdTensor<float>* tensors, int64_t count, const SgdOptions& options) {
  const Kernels& k = kernels();
  const int64_t grain = streaming_grain(20);  // w and v are read and written, dw is read

  // Chunk i belongs to the last tensor whose first chunk is not after i; none crosses a tensor.
  std::vector<int64_t> first_chunk(count);
  int64_t chunks = 0, n = 0;
  for (int64_t t = 0; t < count; ++t) {
    first_chunk[t] = chunks;
    n += tensors[t].n;
    chunks += (tensors[t].n + grain - 1) / grain;
  }

  // Fewer than this many updates are over before another thread has woken up.
  constexpr int64_t kFew = int64_t{1} << 18;
  std::optional<Serially> serially;
  if (n < kFew) serially.emplace();
  const Trace trace("sgd_step", {{"tensors", count}, {"n", n}}, {.bytes = 20.0 * n});
  parallel_for(chunks, 1, [&](int64_t chunk, int64_t) {
    const auto after = std::upper_bound(first_chunk.begin(), first_chunk.end(), chunk);
    const int64_t t = after - first_chunk.begin() - 1;
    const SgdTensor<float>& tensor = tensors[t];
    const int64_t begin = (chunk - first_chunk[t]) * grain;
    k.sgd_step(tensor.w + begin, tensor.dw + begin,
               tensor.v == nullptr ? nullptr : tensor.v + begin, std::min(grain, tensor.n - begin),
               tensor.first, options);
  });
}

}  // namespace striate::cpu
