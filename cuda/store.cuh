// Where the sums of a tile go. A writer is at a tile's corner; `columns` finds a run of neighbours
// once, and `put` writes one row of it.
#pragma once

#include <cuda_runtime.h>

#include <cmath>

#include "cuda/divide.cuh"
#include "cuda/operand.cuh"
#include "cuda/tile.cuh"

namespace striate::cuda {

/// max(v, 0), or v; a NaN stays NaN.
__device__ inline float relu_if(bool relu, float v) {
  const float least = relu ? 0.0f : -INFINITY;
  return v < least ? least : v;
}

template <int kRun>
__device__ void store_run(float* to, const float (&v)[kRun]) {
  if constexpr (kRun == 4) {
    *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
  } else if constexpr (kRun == 2) {
    *reinterpret_cast<float2*>(to) = make_float2(v[0], v[1]);
  } else {
    *to = v[0];
  }
}

/// C = alpha * sums + beta * C + bias, of rows or columns, which `row_stride` and `column_stride`
/// tell apart from each other: C may be written transposed.
struct MatrixStore {
  float* C;
  int64_t rows, columns, row_stride, column_stride, group_stride = 0;
  bool vectors = false;  // runs of four start on 16 bytes
  float alpha = 1, beta = 0;
  const float* bias = nullptr;
  bool bias_of_rows = false, relu = false;

  class Writer {
   public:
    __device__ Writer(const MatrixStore& to, int64_t group, int64_t row, int64_t column)
        : to_(to),
          C_(to.C + group * to.group_stride + row * to.row_stride + column * to.column_stride),
          row_(row),
          column_(column) {}

    template <int kRun>
    struct Columns {
      int column, count;
      float bias[kRun];
    };

    template <int kRun>
    __device__ Columns<kRun> columns(int column) const {
      const int64_t left = to_.columns - column_ - column;
      Columns<kRun> found{column, static_cast<int>(min(left, int64_t{kRun})), {}};
      if (to_.bias == nullptr || to_.bias_of_rows) return found;
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
        if (i < found.count) found.bias[i] = __ldg(to_.bias + (column_ + column + i));
      }
      return found;
    }

    template <int kRun>
    __device__ void put(const Columns<kRun>& columns, int row, const float* sums) const {
      if (row_ + row >= to_.rows) return;
      float* const to = C_ + row * to_.row_stride + columns.column * to_.column_stride;
      const float bias =
          to_.bias != nullptr && to_.bias_of_rows ? __ldg(to_.bias + row_ + row) : 0.0f;
      float values[kRun];
#pragma unroll
      for (int i = 0; i < kRun; ++i) values[i] = fmaf(to_.alpha, sums[i], columns.bias[i] + bias);
      if (to_.beta != 0) {
#pragma unroll
        for (int i = 0; i < kRun; ++i) {
          if (i < columns.count) values[i] = fmaf(to_.beta, to[i * to_.column_stride], values[i]);
        }
      }
#pragma unroll
      for (int i = 0; i < kRun; ++i) values[i] = relu_if(to_.relu, values[i]);
      if (to_.vectors && columns.count == kRun) {
        store_run(to, values);
      } else {
#pragma unroll
        for (int i = 0; i < kRun; ++i) {
          if (i < columns.count) to[i * to_.column_stride] = values[i];
        }
      }
    }

   private:
    const MatrixStore& to_;
    float* C_;
    int64_t row_, column_;
  };
};

/// Rows are channels, columns pixels (n, p, q), which go to
///   y[n, group * rows + row, first_h + p * step_h, first_w + q * step_w].
struct PixelStore {
  float* y;
  int64_t rows, pixels, channel_stride, image_stride;
  Divide PQ, Q;
  int64_t W = 0, first = 0, step_h = 0, step_w = 0;  // first: within an image; unless dense
  bool dense = true;                                 // a channel of y has just P x Q pixels
  bool vectors = false;                              // dense, runs of four start on 16 bytes
  const float* bias = nullptr;
  bool relu = false;

  class Writer {
   public:
    template <int kRun>
    struct Columns {
      int64_t offset[kRun];  // only the first if it is one vector
      int count;
    };

    __device__ Writer(const PixelStore& to, int64_t group, int64_t row, int64_t column)
        : to_(to),
          channel_(group * to.rows + row),
          left_(to.rows - row),
          column_(column),
          image_(quotient(column, to.PQ)),
          rest_(static_cast<unsigned>(column - image_ * to.PQ.divisor())) {}

    template <int kRun>
    __device__ Columns<kRun> columns(int column) const {
      Columns<kRun> found;
      found.count = static_cast<int>(min(to_.pixels - column_ - column, int64_t{kRun}));
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
        found.offset[i] = 0;
        if (i < found.count && (i == 0 || !to_.vectors)) found.offset[i] = offset(column + i);
      }
      return found;
    }

    template <int kRun>
    __device__ void put(const Columns<kRun>& columns, int row, const float* sums) const {
      if (row >= left_ || columns.count <= 0) return;
      const float bias = to_.bias == nullptr ? 0.0f : __ldg(to_.bias + channel_ + row);
      float* const to = to_.y + (channel_ + row) * to_.channel_stride;
      float values[kRun];
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
        values[i] = relu_if(to_.relu, sums[i] + bias);
      }
      if (to_.vectors && kRun > 1) {  // the pixels are a multiple of four, too
        store_run(to + columns.offset[0], values);
      } else {
#pragma unroll
        for (int i = 0; i < kRun; ++i) {
          if (i < columns.count) to[columns.offset[i]] = values[i];
        }
      }
    }

   private:
    __device__ int64_t offset(int column) const {
      const unsigned pixel = rest_ + column, images = to_.PQ(pixel);
      const unsigned pq = pixel - images * to_.PQ.divisor();
      const int64_t image = (image_ + images) * to_.image_stride;
      if (to_.dense) return image + pq;
      const unsigned p = to_.Q(pq);
      return image + to_.first + p * to_.step_h + (pq - p * to_.Q.divisor()) * to_.step_w;
    }

    const PixelStore& to_;
    int64_t channel_, left_, column_, image_;
    unsigned rest_;
  };
};

}  // namespace striate::cuda
