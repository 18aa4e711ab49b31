// Products on tensor cores: float32 in memory, rounded on the way into shared memory, summed in
// float32. A warp multiplies 16, 32 or 64 rows by 32 columns. For compute capability 8.0 on.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <mma.cuh>

#include "cuda/multiply_in.h"
#include "cuda/tile.cuh"

namespace striate::cuda {

/// What both have in common; `Math` multiplies words.
template <class Math>
struct TensorCore {
  using Word = uint32_t;
  // Lanes that read a fragment hold 4 depths x 8 columns: different banks if 4 rows are 8 apart.
  static constexpr int kPadding = 8, kDeeper = 2, kLeastRows = 16;

  template <class Tile, class PanelA, class PanelB>
  class Product {
    static constexpr int kRows = Tile::kThreadRows * Tile::kThreadColumns,
                         kColumns = 32;  // a warp's
    static constexpr int kWarpsDown = Tile::kRows / kRows;
    static_assert(kRows % 16 == 0 && Tile::kRows % kRows == 0 && Tile::kColumns % kColumns == 0);

   public:
    __device__ Product() {
      const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
      row_ = warp % kWarpsDown * kRows + lane / 4;
      column_ = warp / kWarpsDown * kColumns;
      across_ = lane / 4;
      depth_ = lane % 4;
    }

    __device__ void multiply(const PanelA& a, const PanelB& b) {
#pragma unroll
      for (int d = 0; d < PanelA::kWords; d += 8) {
        uint32_t right[kColumns / 8][2];
#pragma unroll
        for (int j = 0; j < kColumns / 8; ++j) {
#pragma unroll
          for (int i = 0; i < 2; ++i) right[j][i] = read(b, d + 4 * i, column_ + across_ + 8 * j);
        }
#pragma unroll
        for (int m = 0; m < kRows / 16; ++m) {
          uint32_t left[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            left[i] = read(a, d + i / 2 * 4, row_ + 16 * m + i % 2 * 8);
          }
#pragma unroll
          for (int j = 0; j < kColumns / 8; ++j) Math::multiply(sums_[m][j], left, right[j]);
        }
      }
    }

    template <class Writer>
    __device__ void write(const Writer& writer) const {
#pragma unroll
      for (int j = 0; j < kColumns / 8; ++j) {
        const auto columns = writer.template columns<2>(column_ + 8 * j + 2 * depth_);
#pragma unroll
        for (int m = 0; m < kRows / 16; ++m) {
          writer.template put<2>(columns, row_ + 16 * m, &sums_[m][j][0]);
          writer.template put<2>(columns, row_ + 16 * m + 8, &sums_[m][j][2]);
        }
      }
    }

   private:
    template <class Panel>
    __device__ uint32_t read(const Panel& panel, int depth, int column) const {
      return panel.words[(depth + depth_) * Panel::kStride + column];
    }

    int across_, depth_, row_, column_;
    float sums_[kRows / 16][kColumns / 8][4] = {};
  };
};

struct Tf32 : TensorCore<Tf32> {
  static constexpr int kPack = 1;
  static constexpr double kSpeed = 4;
  static constexpr const char* kName = "tf32";

  static __device__ uint32_t word(const float* value) { return round_to_tf32(*value); }
  static __device__ void multiply(float (&sums)[4], const uint32_t (&a)[4],
                                  const uint32_t (&b)[2]) {
    multiply_tf32(sums, a, b);
  }
};

struct Bf16 : TensorCore<Bf16> {
  static constexpr int kPack = 2;
  static constexpr double kSpeed = 8;
  static constexpr const char* kName = "bf16";

  static __device__ uint32_t word(const float* values) {
    return round_to_bf16(values[0], values[1]);
  }
  static __device__ void multiply(float (&sums)[4], const uint32_t (&a)[4],
                                  const uint32_t (&b)[2]) {
    multiply_bf16(sums, a, b);
  }
};

}  // namespace striate::cuda
