// Readers of what a convolution sees: the matrix of taps x pixels (im2col), of which no element is
// ever stored. The element of a tap (channel, r, s) and an output pixel (n, p, q) is one pixel of x,
//   x[n, channel, p * stride_h + origin_h + r * step_h, q * stride_w + origin_w + s * step_w],
// the sum of what the tap and what the pixel say, and 0 if that is outside the image.
#pragma once

#include <cuda_runtime.h>

#include "cuda/divide.cuh"
#include "cuda/operand.cuh"
#include "cuda/tile.cuh"
#include "striate/conv2d.h"

namespace striate::cuda {

/// What a tap says of where x is read.
struct alignas(16) Tap {
  int64_t offset;
  int h, w;
};

/// What an output pixel says of it: its place for the tap 0.
struct Seen {
  const float* x;
  int h, w;
};

/// Far from every image: sizes and paddings stay below 2^29 (conv2d.cu checks it).
constexpr int kOutside = -(1 << 30);

struct Im2col {
  const float* x;
  int H, W;  // of x
  int64_t channel_stride, image_stride, group_stride;
  // Taps, s before r before the channel.
  int64_t taps;
  Divide RS, S;
  int step_h, step_w;
  // Output pixels, q before p before n.
  int64_t pixels;
  Divide PQ, Q;
  int stride_h, stride_w, origin_h, origin_w;

  __device__ Tap tap(int64_t tap) const {
    if (tap >= taps) return {0, kOutside, 0};
    const auto number = static_cast<unsigned>(tap);
    const unsigned channel = RS(number), rs = number - channel * RS.divisor(), r = S(rs);
    const int h = static_cast<int>(r) * step_h;
    const int w = static_cast<int>(rs - r * S.divisor()) * step_w;
    return {channel * channel_stride + int64_t{h} * W + w, h, w};
  }

  /// Output pixel `pixel` of the images from `image` on, in channels that start at `from`.
  __device__ Seen pixel(const float* from, int64_t image, unsigned pixel) const {
    const unsigned images = PQ(pixel), pq = pixel - images * PQ.divisor(), p = Q(pq);
    const int h = static_cast<int>(p) * stride_h + origin_h;
    const int w = static_cast<int>(pq - p * Q.divisor()) * stride_w + origin_w;
    return {from + ((image + images) * image_stride + int64_t{h} * W + w), h, w};
  }

  /// Of a tap and an output pixel.
  __device__ float element(const Tap& tap, const Seen& seen) const {
    const auto h = static_cast<unsigned>(tap.h + seen.h);
    const auto w = static_cast<unsigned>(tap.w + seen.w);
    if (h >= static_cast<unsigned>(H) || w >= static_cast<unsigned>(W)) return 0;
    return __ldg(seen.x + tap.offset);
  }
};

/// Taps are summed over, and the columns are pixels: the output and the data's gradient. A thread
/// stays at its pixels; the taps of a panel are looked up by some threads for all.
struct TapsByPixels : Im2col {
  template <class Math, class Panel, int kThreads>
  class Reader {
    static constexpr int kPixels = Panel::kWidth > kThreads ? Panel::kWidth / kThreads : 1;
    static constexpr int kApart = kThreads > Panel::kWidth ? kThreads / Panel::kWidth : 1;
    static constexpr int kEach = Panel::kWords / kApart;
    static_assert(kEach * kApart == Panel::kWords && Panel::kDepth <= kThreads);

   public:
    struct Shared {
      Tap taps[2][Panel::kDepth];
    };

    __device__ Reader(const TapsByPixels& from, Shared& shared, const Corner& at)
        : from_(from),
          shared_(shared),
          begin_(at.begin),
          depth_(at.depth),
          column_(threadIdx.x % Panel::kWidth),
          word_(threadIdx.x / Panel::kWidth) {
      const int64_t image = quotient(at.first, from.PQ);
      const auto rest = static_cast<unsigned>(at.first - image * from.PQ.divisor());
#pragma unroll
      for (int j = 0; j < kPixels; ++j) {
        const int column = column_ + j * kThreads;
        pixels_[j] = {nullptr, kOutside, 0};
        if (at.first + column < from.pixels) {
          pixels_[j] = from.pixel(from.x + at.group * from.group_stride, image, rest + column);
        }
      }
    }

    __device__ void prepare(int d) {
      const int i = static_cast<int>(threadIdx.x);
      if (i >= Panel::kDepth) return;
      shared_.taps[d / Panel::kDepth & 1][i] =
          d + i < depth_ ? from_.tap(begin_ + d + i) : Tap{0, kOutside, 0};
    }

    __device__ void fetch(int d) {
      const Tap* const taps = shared_.taps[d / Panel::kDepth & 1];
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int p = 0; p < Math::kPack; ++p) {
          const Tap tap = taps[(word_ + i * kApart) * Math::kPack + p];
#pragma unroll
          for (int j = 0; j < kPixels; ++j) {
            values_[i][j][p] = from_.element(tap, pixels_[j]);
          }
        }
      }
    }

    __device__ void put(Panel& panel) const {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
#pragma unroll
        for (int j = 0; j < kPixels; ++j) {
          *panel.at(word_ + i * kApart, column_ + j * kThreads) = Math::word(values_[i][j]);
        }
      }
    }

   private:
    const Im2col& from_;
    Shared& shared_;
    int64_t begin_;
    int depth_, column_, word_;
    Seen pixels_[kPixels];
    float values_[kEach][kPixels][Math::kPack];
  };
};

/// Pixels are summed over, and the columns are taps: the weights' gradient. A warp reads along the
/// pixels; the taps of the tile are looked up once.
struct PixelsByTaps : Im2col {
  template <class Math, class Panel, int kThreads>
  class Reader {
    static constexpr int kDown = Panel::kWords, kUnits = kDown * Panel::kWidth;
    static constexpr int kEach = kUnits / kThreads, kNext = kThreads / kDown;
    static_assert(kEach * kThreads == kUnits && kNext * kDown == kThreads);

   public:
    struct Shared {
      Tap taps[Panel::kWidth];
    };

    __device__ Reader(const PixelsByTaps& from, Shared& shared, const Corner& at)
        : from_(from),
          shared_(shared),
          depth_(at.depth),
          x_(from.x + at.group * from.group_stride),
          image_(quotient(at.begin, from.PQ)),
          rest_(static_cast<unsigned>(at.begin - image_ * from.PQ.divisor())),
          word_(threadIdx.x % kDown),
          column_(threadIdx.x / kDown) {
      for (int i = threadIdx.x; i < Panel::kWidth; i += kThreads) {
        shared.taps[i] = from.tap(at.first + i);
      }
    }

    __device__ void prepare(int) {}

    __device__ void fetch(int d) {
#pragma unroll
      for (int p = 0; p < Math::kPack; ++p) {
        const int mine = d + word_ * Math::kPack + p;
        Seen pixel{nullptr, kOutside, 0};
        if (mine < depth_) pixel = from_.pixel(x_, image_, rest_ + mine);
#pragma unroll
        for (int i = 0; i < kEach; ++i) {
          values_[i][p] = from_.element(shared_.taps[column_ + i * kNext], pixel);
        }
      }
    }

    __device__ void put(Panel& panel) const {
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        *panel.at(word_, column_ + i * kNext) = Math::word(values_[i]);
      }
    }

   private:
    const Im2col& from_;
    Shared& shared_;
    int depth_;
    const float* x_;
    int64_t image_;
    unsigned rest_;
    int word_, column_;
    float values_[kEach][Math::kPack];
  };
};

/// What each output pixel of a convolution sees of its input x.
inline Im2col images_of(const float* x, const Conv2dShape& s) {
  return {.x = x,
          .H = static_cast<int>(s.H),
          .W = static_cast<int>(s.W),
          .channel_stride = s.H * s.W,
          .image_stride = s.C * s.H * s.W,
          .group_stride = s.C / s.G * s.H * s.W,
          .taps = s.CRS(),
          .RS = divide_by(s.R * s.S),
          .S = divide_by(s.S),
          .step_h = static_cast<int>(s.dilation_h),
          .step_w = static_cast<int>(s.dilation_w),
          .pixels = s.N * s.PQ(),
          .PQ = divide_by(s.PQ()),
          .Q = divide_by(s.Q),
          .stride_h = static_cast<int>(s.stride_h),
          .stride_w = static_cast<int>(s.stride_w),
          .origin_h = static_cast<int>(-s.pad_top),
          .origin_w = static_cast<int>(-s.pad_left)};
}

}  // namespace striate::cuda
