#include "striate/adaptive_avg_pool2d.h"

#include <vector>

namespace striate::reference {
namespace {

// f(index of the element in its plane) for the elements of one window; returns how many there are.
template <class F>
double for_window(const AdaptiveAvgPool2dShape& s, int64_t p, int64_t q, F f) {
  const AdaptiveWindow rows = adaptive_window(p, s.H, s.P), columns = adaptive_window(q, s.W, s.Q);
  for (int64_t h = rows.begin; h < rows.end; ++h) {
    for (int64_t w = columns.begin; w < columns.end; ++w) f(h * s.W + w);
  }
  return static_cast<double>(rows.end - rows.begin) *
         static_cast<double>(columns.end - columns.begin);
}

}  // namespace

template <class T>
void adaptive_avg_pool2d_forward(T* y, const T* x, const AdaptiveAvgPool2dShape& s) {
  for (int64_t nc = 0; nc < s.N * s.C; ++nc, x += s.H * s.W) {
    for (int64_t p = 0; p < s.P; ++p) {
      for (int64_t q = 0; q < s.Q; ++q) {
        double sum = 0;
        const double count = for_window(s, p, q, [&](int64_t index) { sum += x[index]; });
        *y++ = static_cast<T>(sum / count);
      }
    }
  }
}

template <class T>
void adaptive_avg_pool2d_backward(T* dx, const T* dy, const AdaptiveAvgPool2dShape& s) {
  std::vector<double> plane(s.H * s.W);
  for (int64_t nc = 0; nc < s.N * s.C; ++nc) {
    plane.assign(s.H * s.W, 0.0);
    for (int64_t p = 0; p < s.P; ++p) {
      for (int64_t q = 0; q < s.Q; ++q) {
        const double count = for_window(s, p, q, [](int64_t) {}), share = *dy++ / count;
        for_window(s, p, q, [&](int64_t index) { plane[index] += share; });
      }
    }
    for (const double value : plane) *dx++ = static_cast<T>(value);
  }
}

template void adaptive_avg_pool2d_forward(float*, const float*, const AdaptiveAvgPool2dShape&);
template void adaptive_avg_pool2d_forward(double*, const double*, const AdaptiveAvgPool2dShape&);
template void adaptive_avg_pool2d_backward(float*, const float*, const AdaptiveAvgPool2dShape&);
template void adaptive_avg_pool2d_backward(double*, const double*, const AdaptiveAvgPool2dShape&);

}  // namespace striate::reference
