// The lecture's double loop, in groups: slide the kernel over the image, multiply, add up.
//
// The three passes sum the same products, each over other indices: y += x w, dx += dy w, dw += dy
// x.
#include "striate/conv2d.h"

#include <vector>

namespace striate::reference {
namespace {

// Input row (or column) under kernel row r at output row p; -1 where that is padding.
int64_t under(int64_t p, int64_t r, int64_t stride, int64_t pad, int64_t dilation, int64_t size) {
  const int64_t h = p * stride - pad + r * dilation;
  return 0 <= h && h < size ? h : -1;
}

// Calls visit(x index, w index, y index) for every product that the convolution sums.
template <class Visit>
void for_each_product(const Conv2dShape& s, const Visit& visit) {
  const int64_t c_per_group = s.C / s.G, k_per_group = s.K / s.G;
  for (int64_t n = 0; n < s.N; ++n) {
    for (int64_t k = 0; k < s.K; ++k) {
      for (int64_t c = 0; c < c_per_group; ++c) {
        const int64_t channel = k / k_per_group * c_per_group + c;
        for (int64_t p = 0; p < s.P; ++p) {
          for (int64_t q = 0; q < s.Q; ++q) {
            for (int64_t r = 0; r < s.R; ++r) {
              const int64_t h = under(p, r, s.stride_h, s.pad_top, s.dilation_h, s.H);
              if (h < 0) continue;
              for (int64_t t = 0; t < s.S; ++t) {
                const int64_t w = under(q, t, s.stride_w, s.pad_left, s.dilation_w, s.W);
                if (w < 0) continue;
                visit(((n * s.C + channel) * s.H + h) * s.W + w,
                      ((k * c_per_group + c) * s.R + r) * s.S + t,
                      ((n * s.K + k) * s.P + p) * s.Q + q);
              }
            }
          }
        }
      }
    }
  }
}

// What the sums collect in: wider than a float, rounded once at the end.
using Sums = std::vector<double>;

template <class T>
void round_to(T* out, const Sums& sums) {
  for (std::size_t i = 0; i < sums.size(); ++i) out[i] = static_cast<T>(sums[i]);
}

}  // namespace

template <class T>
void conv2d_forward(T* y, const T* x, const T* w, const T* b, const Conv2dShape& s) {
  Sums sums(s.N * s.K * s.P * s.Q);
  for (int64_t i = 0; b != nullptr && i < std::ssize(sums); ++i) sums[i] = b[i / s.PQ() % s.K];
  for_each_product(s, [&](int64_t ix, int64_t iw, int64_t iy) {
    sums[iy] += static_cast<double>(x[ix]) * w[iw];
  });
  round_to(y, sums);
}

template <class T>
void conv2d_backward_data(T* dx, const T* dy, const T* w, const Conv2dShape& s) {
  Sums sums(s.N * s.C * s.H * s.W);
  for_each_product(s, [&](int64_t ix, int64_t iw, int64_t iy) {
    sums[ix] += static_cast<double>(dy[iy]) * w[iw];
  });
  round_to(dx, sums);
}

template <class T>
void conv2d_backward_weight(T* dw, const T* dy, const T* x, const Conv2dShape& s) {
  Sums sums(s.K * s.CRS());
  for_each_product(s, [&](int64_t ix, int64_t iw, int64_t iy) {
    sums[iw] += static_cast<double>(dy[iy]) * x[ix];
  });
  round_to(dw, sums);
}

template <class T>
void conv2d_backward_bias(T* db, const T* dy, const Conv2dShape& s) {
  Sums sums(s.K);
  for (int64_t i = 0; i < s.N * s.K * s.PQ(); ++i) sums[i / s.PQ() % s.K] += dy[i];
  round_to(db, sums);
}

template void conv2d_forward(float*, const float*, const float*, const float*, const Conv2dShape&);
template void conv2d_forward(double*, const double*, const double*, const double*,
                             const Conv2dShape&);
template void conv2d_backward_data(float*, const float*, const float*, const Conv2dShape&);
template void conv2d_backward_data(double*, const double*, const double*, const Conv2dShape&);
template void conv2d_backward_weight(float*, const float*, const float*, const Conv2dShape&);
template void conv2d_backward_weight(double*, const double*, const double*, const Conv2dShape&);
template void conv2d_backward_bias(float*, const float*, const Conv2dShape&);
template void conv2d_backward_bias(double*, const double*, const Conv2dShape&);

}  // namespace striate::reference
