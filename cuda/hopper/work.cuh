// How a product is shared out among blocks.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "striate/gemm.h"

namespace striate::cuda::hopper {

constexpr int kTileRows = 128;  // of C

/// What a block computes at a time: a tile of C, over a part of the sum.
struct Piece {
  int m, n;        // of C, the first row and column
  int split;       // which part of the sum
  int first, end;  // its steps of kTileBytes along K
};

/// How C and the sums are cut into pieces.
struct Work {
  int rows, columns;   // tiles
  int splits, steps;   // of the sum; steps of all of it
  int steps_of_split;  // of all but the last

  __host__ __device__ int pieces() const { return rows * columns * splits; }

  /// Eight rows of tiles are walked down before the next column, so that what runs at a time shares
  /// its operands in L2.
  __device__ Piece piece(int i, int tile_columns) const {
    constexpr int kBand = 8;
    const int split = i / (rows * columns), tile = i - split * rows * columns;
    const int band = tile / (kBand * columns), within = tile - band * kBand * columns;
    const int high = min(kBand, rows - band * kBand);
    const int first = split * steps_of_split;
    return {(band * kBand + within % high) * kTileRows, within / high * tile_columns, split, first,
            min(first + steps_of_split, steps)};
  }
};

/// ceil(size / each)
inline int tiles(int64_t size, int64_t each) { return static_cast<int>((size + each - 1) / each); }

/// Multiprocessors of an H100: the order of sums depends on it, so it is not asked of the device.
constexpr int kBlocksAtOnce = 132;

/// As many splits as fill the machine, but of at least eight steps.
inline Work cut(const GemmShape& s, int tile_columns, int tile_depth) {
  constexpr int kFewestSteps = 8;
  Work work{tiles(s.M, kTileRows), tiles(s.N, tile_columns), 1, tiles(s.K, tile_depth), 0};
  const int most = std::min(kBlocksAtOnce / work.pieces(), work.steps / kFewestSteps);
  work.steps_of_split = tiles(work.steps, std::max(most, 1));
  work.splits = tiles(work.steps, work.steps_of_split);
  return work;
}

}  // namespace striate::cuda::hopper
