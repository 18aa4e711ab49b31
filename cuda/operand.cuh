// Readers of operands that are matrices in memory (tile.cuh says what a reader does). `width` counts
// the rows of A or the columns of B: what is not summed over.
#pragma once

#include <cuda_runtime.h>

#include "cuda/divide.cuh"
#include "cuda/tile.cuh"

namespace striate::cuda {

__device__ inline void store_four(float* to, const float (&v)[4]) {
  *reinterpret_cast<float4*>(to) = make_float4(v[0], v[1], v[2], v[3]);
}

__device__ inline void store_four(uint32_t* to, const uint32_t (&v)[4]) {
  *reinterpret_cast<uint4*>(to) = make_uint4(v[0], v[1], v[2], v[3]);
}

/// Moves v[(i + turn) % kCount] to v[i].
template <class T, int kCount>
__device__ void rotate(T (&v)[kCount], int turn) {
#pragma unroll
  for (int step = 1; step < kCount; step *= 2) {
    T moved[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) moved[i] = (turn & step) != 0 ? v[(i + step) % kCount] : v[i];
#pragma unroll
    for (int i = 0; i < kCount; ++i) v[i] = moved[i];
  }
}

__device__ inline void load_four(float* to, const float* from) {
  const float4 v = __ldg(reinterpret_cast<const float4*>(from));
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}

/// Elements of one row, one after another.
struct Contiguous {
  struct Cursor {
    int64_t start;
    __device__ Cursor(const Contiguous&, int64_t begin) : start(begin) {}
    __device__ int offset(int d) const { return d; }
  };
};

/// A divisor of 0 belongs to an empty problem, in which nothing is divided.
inline Divide divide_by(int64_t divisor) { return Divide(divisor > 0 ? divisor : 1); }

/// May four neighbours be loaded at once, of each of the rows that are `stride` apart?
inline bool in_fours(const float* data, int64_t stride, int64_t count) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % 4 == 0 && count % 4 == 0;
}

/// Once for a block, where the dividend may be large.
__device__ inline int64_t quotient(int64_t dividend, const Divide& divide) {
  return dividend <= UINT32_MAX ? divide(static_cast<unsigned>(dividend))
                                : dividend / divide.divisor();
}

/// The pixels of one channel, image after image: `plane` of them stand together.
struct OverImages {
  Divide plane;
  int64_t image_stride;

  struct Cursor {
    Divide plane;
    int64_t image_stride, image;
    unsigned rest;
    static constexpr int64_t start = 0;
    __device__ Cursor(const OverImages& over, int64_t begin)
        : plane(over.plane),
          image_stride(over.image_stride),
          image(quotient(begin, plane)),
          rest(static_cast<unsigned>(begin - image * plane.divisor())) {}
    __device__ int64_t offset(int d) const {
      const unsigned pixel = rest + d, images = plane(pixel);
      return (image + images) * image_stride + (pixel - images * plane.divisor());
    }
  };
};

/// Neighbours in memory are neighbours in depth: A[M, K], B[N, K]. A thread reads four of them, in
/// one load if kVector is 4: `data`, `stride`, and where a row is cut are then multiples of 4.
template <int kVector, class Along = Contiguous>
struct DepthContiguous {
  const float* data;
  int64_t stride, width, group_stride;
  Along along = {};

  template <class Math, class Panel, int kThreads>
  class Reader {
    static constexpr int kQuads = Panel::kDepth / 4, kDown = kThreads / kQuads;
    static constexpr int kEach = (Panel::kWidth + kDown - 1) / kDown;
    static_assert(kThreads % kQuads == 0);

   public:
    struct Shared {};

    __device__ Reader(const DepthContiguous& from, Shared&, const Corner& at)
        : next_(from.stride * kDown),
          along_(from.along, at.begin + quad()),
          depth_(at.depth - quad()),
          width_(static_cast<int>(min(from.width - at.first, int64_t{Panel::kWidth})) - column()),
          data_(from.data + at.group * from.group_stride + (at.first + column()) * from.stride +
                along_.start) {}

    __device__ void prepare(int) {}

    __device__ void fetch(int d) {
      const float* row = data_;
#pragma unroll
      for (int i = 0; i < kEach; ++i, row += next_) {
        const bool inside = i * kDown < width_;
#pragma unroll
        for (int j = 0; j < 4; ++j) values_[i][j] = 0;
        if constexpr (kVector == 4) {
          if (inside && d < depth_) load_four(values_[i], row + along_.offset(d));
        } else {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            if (inside && d + j < depth_) values_[i][j] = __ldg(row + along_.offset(d + j));
          }
        }
      }
    }

    __device__ void put(Panel& panel) const {
      // Quads of a panel with a padding of 8 are on the same banks: lanes of different quads take
      // turns, and begin with different words.
      constexpr int kWords = 4 / Math::kPack;
      const int turn = Math::kPadding == 8 ? quad() / 4 / Math::kPack % kWords : 0;
      auto* const to = panel.at(quad() / Math::kPack, column());
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        if (Panel::kWidth % kDown != 0 && column() + i * kDown >= Panel::kWidth) return;
        typename Math::Word words[kWords];
#pragma unroll
        for (int j = 0; j < kWords; ++j) words[j] = Math::word(&values_[i][j * Math::kPack]);
        rotate(words, turn);
#pragma unroll
        for (int j = 0; j < kWords; ++j) {
          to[(j + turn) % kWords * Panel::kStride + i * kDown] = words[j];
        }
      }
    }

   private:
    static __device__ int quad() { return static_cast<int>(threadIdx.x) % kQuads * 4; }
    static __device__ int column() { return static_cast<int>(threadIdx.x) / kQuads; }

    int64_t next_;  // from one row to the next that this thread reads
    typename Along::Cursor along_;
    int depth_, width_;  // from here on
    const float* data_;
    float values_[kEach][4];
  };
};

/// Neighbours in memory belong to different sums: A[K, M], B[K, N]. kVector: floats of one load; if
/// it is 4, `data`, `stride` and `width` are multiples of 4.
template <int kVector>
struct WidthContiguous {
  const float* data;
  int64_t stride, width, group_stride;

  template <class Math, class Panel, int kThreads>
  class Reader {
    // A thread reads kRuns runs of columns in every kDown-th word of the panel's depth.
    static constexpr int kAcross = Panel::kWidth / kVector;
    static constexpr int kRuns = kAcross > kThreads ? kAcross / kThreads : 1;
    static constexpr int kDown = kAcross > kThreads ? 1 : kThreads / kAcross;
    static constexpr int kEach = (Panel::kWords + kDown - 1) / kDown;
    static constexpr int kRunsApart = Panel::kWidth / kRuns;

   public:
    struct Shared {};

    __device__ Reader(const WidthContiguous& from, Shared&, const Corner& at)
        : stride_(from.stride),
          column_(threadIdx.x % kAcross * kVector),
          word_(threadIdx.x / kAcross),
          left_(at.depth - word_ * Math::kPack),
          width_(static_cast<int>(min(from.width - at.first, int64_t{Panel::kWidth})) - column_),
          data_(from.data + at.group * from.group_stride +
                (at.begin + word_ * Math::kPack) * from.stride + at.first + column_) {}

    __device__ void prepare(int) {}

    /// Beyond the panel's last word, too, if the threads are too many: that is not put.
    __device__ void fetch(int) {
      const float* row = data_;
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int p = 0; p < Math::kPack; ++p) {
          const bool inside = i * kDown * Math::kPack + p < left_;
#pragma unroll
          for (int run = 0; run < kRuns; ++run) {
            load(i, run, p, row + run * kRunsApart, inside && run * kRunsApart < width_);
          }
          row += stride_;
        }
        row += (kDown - 1) * Math::kPack * stride_;
      }
      data_ += Panel::kDepth * stride_;
      left_ -= Panel::kDepth;
    }

    __device__ void put(Panel& panel) const {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        if (Panel::kWords % kDown != 0 && word_ + i * kDown >= Panel::kWords) return;
#pragma unroll
        for (int run = 0; run < kRuns; ++run) {
          typename Math::Word words[kVector];
#pragma unroll
          for (int v = 0; v < kVector; ++v) words[v] = Math::word(values_[i][run][v]);
          auto* const to = panel.at(word_ + i * kDown, column_ + run * kRunsApart);
          if constexpr (kVector == 4) {
            store_four(to, words);
          } else {
            *to = words[0];
          }
        }
      }
    }

   private:
    __device__ void load(int i, int run, int p, const float* from, bool inside) {
      float loaded[kVector] = {};
      if constexpr (kVector == 4) {
        if (inside) load_four(loaded, from);
      } else {
        if (inside) loaded[0] = __ldg(from);
      }
#pragma unroll
      for (int v = 0; v < kVector; ++v) values_[i][run][v][p] = loaded[v];
    }

    int64_t stride_;
    int column_, word_, left_, width_;
    const float* data_;
    float values_[kEach][kRuns][kVector][Math::kPack];
  };
};

}  // namespace striate::cuda
