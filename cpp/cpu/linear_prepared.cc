// linear with packed weights: both passes are x[N, depth] times tiles of `outputs` columns.
#include "cpu/linear_prepared.h"

#include <algorithm>

#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"
#include "cpu/trace.h"
#include "striate/gemm.h"

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

int64_t packed_size(int64_t depth, int64_t outputs) {
  return depth * round_up(outputs, kernels().tile_columns);
}

// Calls pack_tile(to, first output, how many) for every tile.
template <class Pack>
void pack_tiles(float* packed, int64_t depth, int64_t outputs, const Pack& pack_tile) {
  const int64_t width = kernels().tile_columns;
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, depth * width)) * width;
  parallel_for(outputs, grain, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; j += width) {
      const int64_t columns = std::min(width, outputs - j);
      if (columns < width) std::fill_n(packed + j * depth, depth * width, 0.0f);
      pack_tile(packed + j * depth, j, columns);
    }
  });
}

Trace traced(const char* op, const LinearShape& s) {
  return {op, {{"N", s.N}, {"C", s.C}, {"K", s.K}}, {.flop = 2.0 * s.N * s.C * s.K}};
}

}  // namespace

int64_t linear_weights_size(const LinearShape& s) { return packed_size(s.C, s.K); }

int64_t linear_backward_weights_size(const LinearShape& s) { return packed_size(s.K, s.C); }

void linear_prepare_weights(float* packed, const float* w, const LinearShape& s) {
  const Kernels& kernel = kernels();
  pack_tiles(packed, s.C, s.K, [&](float* to, int64_t k, int64_t columns) {
    kernel.transpose(to, kernel.tile_columns, w + k * s.C, s.C, columns, s.C);
  });
}

void linear_prepare_backward_weights(float* packed, const float* w, const LinearShape& s) {
  const Kernels& kernel = kernels();
  pack_tiles(packed, s.K, s.C, [&](float* to, int64_t c, int64_t columns) {
    kernel.copy(to, kernel.tile_columns, w + c, s.C, s.K, columns);
  });
}

void linear_forward_prepared(float* y, const float* x, const float* packed, const float* bias,
                             bool relu, const LinearShape& s) {
  const Trace trace = traced("linear_forward", s);
  multiply_packed(y, x, packed, bias, relu, s.N, s.C, s.K);
}

void linear_backward_data_prepared(float* dx, const float* dy, const float* packed,
                                   const LinearShape& s) {
  const Trace trace = traced("linear_backward_data", s);
  multiply_packed(dx, dy, packed, nullptr, false, s.N, s.K, s.C);
}

void linear_accumulate_weight(float* dw, const float* dy, const float* x, bool accumulate,
                              const LinearShape& s) {
  const Trace trace = traced("linear_backward_weight", s);
  gemm(dw, dy, x, 1.0f, accumulate ? 1.0f : 0.0f,
       {.M = s.K, .N = s.C, .K = s.N, .trans_a = true, .lda = s.K, .ldb = s.C, .ldc = s.C});
}

void linear_accumulate_bias(float* db, const float* dy, bool accumulate, const LinearShape& s) {
  const Trace trace("linear_backward_bias", {{"N", s.N}, {"K", s.K}}, {.bytes = 4.0 * s.N * s.K});
  const Kernels& k = kernels();
  parallel_for(s.K, streaming_grain(4 * std::max<int64_t>(s.N, 1)),
               [&](int64_t begin, int64_t end) {
                 if (!accumulate) std::fill(db + begin, db + end, 0.0f);
                 for (int64_t n = 0; n < s.N; ++n)
                   k.add(db + begin, dy + n * s.K + begin, end - begin);
               });
}

}  // namespace striate::cpu
