// linear with packed weights: x[N, C] times tiles of outputs.
#include "cpu/linear_prepared.h"

#include <algorithm>

#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"
#include "cpu/trace.h"

namespace striate::cpu {
namespace {

// y[N, outputs] = x[N, depth] times the tiles, with bias and ReLU.
void multiply_packed(float* y, const float* x, const float* packed, const float* bias, bool relu,
                     int64_t N, int64_t depth, int64_t outputs) {
  constexpr double kLeastWork = 0.5e6;                // operations in a piece
  constexpr int64_t kLeastBytes = int64_t{64} << 10;  // or weights that it streams
  const Kernels& kernel = kernels();
  if (N == 0) return;
  if (depth == 0) {
    for (int64_t i = 0; i < N * outputs; ++i) {
      const float value = bias == nullptr ? 0 : bias[i % outputs];
      y[i] = relu && value <= 0 ? 0 : value;
    }
    return;
  }
  const int64_t width = kernel.tile_columns, slice = even_part(depth, kGemmDepth);
  const Panels panels(N, kernel.tile_rows);

  // One row is its own panel; of several, each slice is turned.
  const Scratch turned(N > 1 ? N * depth : 0);
  if (N > 1) {
    const int64_t slices = (depth + slice - 1) / slice;
    const int64_t grain = std::max<int64_t>(1, 16384 / (N * slice));
    parallel_for(slices, grain, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin * slice; k < std::min(end * slice, depth); k += slice) {
        pack(kernel, turned.get() + N * k, {x + k, depth, 1}, panels, std::min(slice, depth - k));
      }
    });
  }
  const float* const rows = N > 1 ? turned.get() : x;

  // A piece: some tiles, a slice of which stays in L2 while the rows pass.
  const double work = 2.0 * N * depth * width;
  const int64_t tiles = (outputs + width - 1) / width, bytes = depth * width * 4;
  const int64_t least = std::min(static_cast<int64_t>(kLeastWork / work), kLeastBytes / bytes);
  const int64_t most = std::max<int64_t>(1, kBlockFloats / (slice * width));
  const int64_t grain = std::max(least, even_part(tiles, std::min(most, (tiles + 31) / 32)));
  parallel_for(outputs, std::max<int64_t>(1, grain) * width, [&](int64_t begin, int64_t end) {
    for (int64_t k = 0; k < depth; k += slice) {
      const bool last = k + slice >= depth;
      multiply(kernel, y + begin, outputs, rows + N * k, panels, std::min(slice, depth - k),
               {packed + begin * depth + k * width, width, width * depth}, end - begin, nullptr,
               k > 0, relu && last, bias != nullptr && last ? bias + begin : nullptr);
    }
  });
}

}  // namespace

int64_t linear_weights_size(const LinearShape& s) {
  return s.C * round_up(s.K, kernels().tile_columns);
}

void linear_prepare_weights(float* packed, const float* w, const LinearShape& s) {
  const Kernels& kernel = kernels();
  const int64_t width = kernel.tile_columns;
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, s.C * width)) * width;
  parallel_for(s.K, grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; k += width) {
      const int64_t columns = std::min(width, s.K - k);
      if (columns < width) std::fill_n(packed + k * s.C, s.C * width, 0.0f);
      kernel.transpose(packed + k * s.C, width, w + k * s.C, s.C, columns, s.C);
    }
  });
}

void linear_forward_prepared(float* y, const float* x, const float* packed, const float* bias,
                             bool relu, const LinearShape& s) {
  const Trace trace("linear_forward", {{"N", s.N}, {"C", s.C}, {"K", s.K}},
                    {.flop = 2.0 * s.N * s.C * s.K});
  multiply_packed(y, x, packed, bias, relu, s.N, s.C, s.K);
}

}  // namespace striate::cpu
