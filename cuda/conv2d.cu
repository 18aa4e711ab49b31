// conv2d: three products of matrices and a sum. Which arithmetic, see multiply_in.h.
#include <algorithm>
#include <shared.cuh>
#include <stdexcept>
#include <string>

#include "cuda/column_sums.cuh"
#include "cuda/conv2d_gemm.h"
#include "cuda/operand.cuh"
#include "cuda/reduce.cuh"
#include "striate/conv2d.h"

namespace striate::cuda {

Op conv2d_op(const char* name, const Conv2dShape& s, const char* algorithm) {
  return Op(name,
            {{"N", s.N},
             {"C", s.C},
             {"H", s.H},
             {"W", s.W},
             {"K", s.K},
             {"R", s.R},
             {"S", s.S},
             {"G", s.G},
             {"stride_h", s.stride_h},
             {"stride_w", s.stride_w},
             {"pad_top", s.pad_top},
             {"pad_left", s.pad_left},
             {"pad_bottom", s.pad_bottom},
             {"pad_right", s.pad_right},
             {"dilation_h", s.dilation_h},
             {"dilation_w", s.dilation_w}},
            {.flop = 2.0 * s.N * s.K * s.PQ() * s.CRS(),
             .bytes = 4.0 * (s.N * (s.C * s.H * s.W + s.K * s.PQ()) + s.K * s.CRS())},
            algorithm);
}

namespace {

/// What im2col.cuh counts in 32 bits: rows and columns with their padding, one image's pixels, taps.
void check_sizes(const Conv2dShape& s) {
  constexpr int64_t kMost = int64_t{1} << 29;
  const auto check = [](const char* what, int64_t value, int64_t most) {
    if (value < most) return;
    throw std::runtime_error(std::string("conv2d on CUDA: ") + what + " " + std::to_string(value) +
                             ", must be less than " + std::to_string(most));
  };
  check("the padded height is", s.H + s.pad_top + s.pad_bottom, kMost);
  check("the padded width is", s.W + s.pad_left + s.pad_right, kMost);
  check("the kernel's height is", s.R * s.dilation_h, kMost);
  check("the kernel's width is", s.S * s.dilation_w, kMost);
  check("the number of an image's pixels is", std::max(s.H * s.W, s.PQ()), int64_t{1} << 31);
  check("the number of one output's products is", s.CRS(), int64_t{1} << 31);
  check("the number of one input's products is", s.K / s.G * s.R * s.S, int64_t{1} << 31);
}

void forward(const char* name, float* y, const float* x, const float* w, const float* b, bool relu,
             const Conv2dShape& s) {
  if (s.N * s.K * s.PQ() == 0) return;
  check_sizes(s);
  multiply_in(precision_for(s.K / s.G), [&]<class Math>(std::type_identity<Math>) {
    gemm_conv2d_forward<Math>(name, y, x, w, b, relu, s);
  });
}

constexpr int kPlaneThreads = 256;
constexpr int kSliceSums = 8192;  // elements of dy

/// sums[slice, channel] = sum of a slice of the channel's pixels (n, p, q). kVector of them are read
/// at once: it divides a channel's pixels in an image.
template <int kVector, class To>
__global__ void __launch_bounds__(kPlaneThreads)
    channel_sums_kernel(To* sums, const float* dy, int64_t channels, const OverImages vectors,
                        int64_t count, int each) {
  struct Shared {
    double partial[kPlaneThreads / kWarp];
  };
  auto& shared = shared_memory<Shared>();
  const int64_t begin = int64_t{blockIdx.y} * each;
  const int mine = static_cast<int>(max(int64_t{0}, min(count - begin, int64_t{each})));
  const OverImages::Cursor cursor(vectors, begin);
  dy += blockIdx.x * int64_t{kVector} * vectors.plane.divisor();
  double sum = 0;
#pragma unroll 8
  for (int i = threadIdx.x; i < mine; i += kPlaneThreads) {
    const float* const from = dy + kVector * cursor.offset(i);
    if constexpr (kVector == 4) {
      float v[4];
      load_four(v, from);
      sum += (v[0] + v[1]) + (v[2] + v[3]);
    } else {
      sum += __ldg(from);
    }
  }
  sum = block_reduce<kPlaneThreads>(sum, shared.partial, Sum{});
  if (threadIdx.x == 0) sums[blockIdx.y * channels + blockIdx.x] = static_cast<To>(sum);
}

template <int kVector>
void channel_sums(const Op& op, float* db, const float* dy, const Conv2dShape& s) {
  constexpr int64_t kLeast = kSliceSums / kVector, kMostSlices = 65535;  // in the y of a grid
  const int64_t count = s.N * s.PQ() / kVector;
  const int64_t each = std::max(kLeast, (count + kMostSlices - 1) / kMostSlices);
  const int64_t slices = (count + each - 1) / each;
  const OverImages vectors{Divide(s.PQ() / kVector), s.K * s.PQ() / kVector};
  const Grid grid{{static_cast<unsigned>(s.K), static_cast<unsigned>(slices)},
                  kPlaneThreads,
                  kPlaneThreads / kWarp * sizeof(double)};
  if (slices == 1) {
    return op.launch(grid, channel_sums_kernel<kVector, float>, db, dy, s.K, vectors, count, each);
  }
  const Scratch scratch(2 * slices * s.K);
  double* const partials = scratch.as<double>();
  op.launch(grid, channel_sums_kernel<kVector, double>, partials, dy, s.K, vectors, count, each);
  column_sums(op, db, static_cast<const double*>(partials), slices, s.K);
}

}  // namespace

void conv2d_forward(float* y, const float* x, const float* w, const float* b,
                    const Conv2dShape& s) {
  forward("conv2d_forward", y, x, w, b, false, s);
}

void conv2d_relu_forward(float* y, const float* x, const float* w, const float* b,
                         const Conv2dShape& s) {
  forward("conv2d_relu_forward", y, x, w, b, true, s);
}

void conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s) {
  if (s.N * s.C * s.H * s.W == 0) return;
  check_sizes(s);
  multiply_in(precision_for(s.C / s.G), [&]<class Math>(std::type_identity<Math>) {
    gemm_conv2d_backward_data<Math>(dx, dy, w, s);
  });
}

void conv2d_backward_weight(float* dw, const float* dy, const float* x, const Conv2dShape& s) {
  const int64_t size = s.K * s.CRS();
  if (size == 0) return;
  if (s.N * s.PQ() == 0) {
    const Op op = conv2d_op("conv2d_backward_weight", s, nullptr);
    return op.clear(dw, size * sizeof(float));
  }
  check_sizes(s);
  const int64_t rows = std::min(s.K / s.G, s.CRS());
  multiply_in(precision_for(rows), [&]<class Math>(std::type_identity<Math>) {
    gemm_conv2d_backward_weight<Math>(dw, dy, x, s);
  });
}

void conv2d_backward_bias(float* db, const float* dy, const Conv2dShape& s) {
  if (s.K == 0) return;
  const Op op("conv2d_backward_bias", {{"N", s.N}, {"K", s.K}, {"P", s.P}, {"Q", s.Q}},
              {.bytes = 4.0 * s.N * s.K * s.PQ()});
  if (s.N * s.PQ() == 0) return op.clear(db, s.K * sizeof(float));
  if (in_fours(dy, s.PQ(), s.PQ())) {
    channel_sums<4>(op, db, dy, s);
  } else {
    channel_sums<1>(op, db, dy, s);
  }
}

}  // namespace striate::cuda
