// Products in float32: each thread multiplies blocks of 4 rows by blocks of 4 columns.
#pragma once

#include <cuda_runtime.h>

#include "cuda/tile.cuh"

namespace striate::cuda {

struct Float32 {
  using Word = float;
  static constexpr int kPack = 1, kPadding = 4, kDeeper = 1, kLeastRows = 1;
  static constexpr double kSpeed = 1;  // against float32
  static constexpr const char* kName = "float32";

  static __device__ float word(const float* value) { return *value; }

  /// The lanes of a warp take 4 x 8 of the blocks, if there are so many: a row of panels is then read
  /// from different banks, or the same word.
  template <class Tile, class PanelA, class PanelB>
  class Product {
    static constexpr int kRows = Tile::kThreadRows, kColumns = Tile::kThreadColumns;
    static constexpr int kDown = Tile::kRows / kRows, kAcross = Tile::kColumns / kColumns;
    static constexpr int kWarpDown = kDown < 4 ? kDown : 4, kWarpAcross = 32 / kWarpDown;
    // From one block of a thread to its next.
    static constexpr int kNextRows = Tile::kRows / (kRows / 4);
    static constexpr int kNextColumns = Tile::kColumns / (kColumns / 4);
    static_assert(kRows % 4 == 0 && kColumns % 4 == 0 && kAcross % kWarpAcross == 0);

   public:
    __device__ Product() {
      const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
      constexpr int kWarps = kAcross / kWarpAcross;
      row_ = 4 * (warp / kWarps * kWarpDown + lane / kWarpAcross);
      column_ = 4 * (warp % kWarps * kWarpAcross + lane % kWarpAcross);
    }

    __device__ void multiply(const PanelA& a, const PanelB& b) {
#pragma unroll
      for (int d = 0; d < PanelA::kDepth; ++d) {
        float4 left[kRows / 4], right[kColumns / 4];
        read(left, a, d, row_, kNextRows);
        read(right, b, d, column_, kNextColumns);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
#pragma unroll
          for (int j = 0; j < kColumns; ++j) {
            sums_[i][j] =
                fmaf(element(left[i / 4], i % 4), element(right[j / 4], j % 4), sums_[i][j]);
          }
        }
      }
    }

    template <class Writer>
    __device__ void write(const Writer& writer) const {
#pragma unroll
      for (int j = 0; j < kColumns; j += 4) {
        const auto columns = writer.template columns<4>(column_ + j / 4 * kNextColumns);
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          writer.template put<4>(columns, row_ + i / 4 * kNextRows + i % 4, &sums_[i][j]);
        }
      }
    }

   private:
    template <int kCount, class Panel>
    static __device__ void read(float4 (&to)[kCount], const Panel& panel, int depth, int column,
                                int next) {
      const float* const from = panel.words + depth * Panel::kStride + column;
#pragma unroll
      for (int i = 0; i < kCount; ++i) to[i] = *reinterpret_cast<const float4*>(from + i * next);
    }

    static __device__ float element(const float4& v, int i) {
      return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
    }

    int row_, column_;
    float sums_[kRows][kColumns] = {};
  };
};

}  // namespace striate::cuda
