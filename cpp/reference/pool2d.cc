#include "striate/pool2d.h"

#include <cmath>
#include <limits>
#include <vector>

namespace striate::reference {
namespace {

// f(index of the element in its plane) for the elements of one window, row by row.
template <class F>
void for_window(const Pool2dShape& s, const Pool2dTaps& rows, const Pool2dTaps& columns, F f) {
  for (int64_t i = rows.begin; i < rows.end; ++i) {
    for (int64_t j = columns.begin; j < columns.end; ++j) {
      const int64_t h = rows.start + i * s.dilation_h, w = columns.start + j * s.dilation_w;
      f(h * s.W + w);
    }
  }
}

}  // namespace

template <class T>
void max_pool2d_forward(T* y, int32_t* indices, const T* x, const Pool2dShape& s) {
  for (int64_t nc = 0; nc < s.N * s.C; ++nc, x += s.H * s.W) {
    for (int64_t p = 0; p < s.P; ++p) {
      for (int64_t q = 0; q < s.Q; ++q) {
        T largest = -std::numeric_limits<T>::infinity();
        int64_t winner = -1;
        for_window(s, pool2d_rows(s, p), pool2d_columns(s, q), [&](int64_t index) {
          if (winner < 0 || x[index] > largest || std::isnan(x[index])) {
            largest = x[index];
            winner = index;
          }
        });
        *y++ = largest;
        if (indices != nullptr) *indices++ = static_cast<int32_t>(winner);
      }
    }
  }
}

template <class T>
bool max_pool2d_backward(T* dx, const T* dy, const int32_t* indices, const Pool2dShape& s) {
  const int64_t least = pool2d_least_index(s);
  std::vector<double> plane(s.H * s.W);
  for (int64_t nc = 0; nc < s.N * s.C; ++nc) {
    plane.assign(s.H * s.W, 0.0);
    for (int64_t pq = 0; pq < s.P * s.Q; ++pq) {
      const int64_t index = *indices++;
      if (index < least || index >= s.H * s.W) return false;
      if (index >= 0) plane[index] += *dy;
      ++dy;
    }
    for (const double value : plane) *dx++ = static_cast<T>(value);
  }
  return true;
}

template <class T>
void avg_pool2d_forward(T* y, const T* x, const Pool2dShape& s, const Pool2dDivisor& divisor) {
  for (int64_t nc = 0; nc < s.N * s.C; ++nc, x += s.H * s.W) {
    for (int64_t p = 0; p < s.P; ++p) {
      for (int64_t q = 0; q < s.Q; ++q) {
        const Pool2dTaps rows = pool2d_rows(s, p), columns = pool2d_columns(s, q);
        double sum = 0;
        for_window(s, rows, columns, [&](int64_t index) { sum += x[index]; });
        *y++ = static_cast<T>(sum / pool2d_divisor(s, divisor, rows, columns));
      }
    }
  }
}

template <class T>
void avg_pool2d_backward(T* dx, const T* dy, const Pool2dShape& s, const Pool2dDivisor& divisor) {
  std::vector<double> plane(s.H * s.W);
  for (int64_t nc = 0; nc < s.N * s.C; ++nc) {
    plane.assign(s.H * s.W, 0.0);
    for (int64_t p = 0; p < s.P; ++p) {
      for (int64_t q = 0; q < s.Q; ++q) {
        const Pool2dTaps rows = pool2d_rows(s, p), columns = pool2d_columns(s, q);
        const double share = *dy++ / pool2d_divisor(s, divisor, rows, columns);
        for_window(s, rows, columns, [&](int64_t index) { plane[index] += share; });
      }
    }
    for (const double value : plane) *dx++ = static_cast<T>(value);
  }
}

template void max_pool2d_forward(float*, int32_t*, const float*, const Pool2dShape&);
template void max_pool2d_forward(double*, int32_t*, const double*, const Pool2dShape&);
template bool max_pool2d_backward(float*, const float*, const int32_t*, const Pool2dShape&);
template bool max_pool2d_backward(double*, const double*, const int32_t*, const Pool2dShape&);
template void avg_pool2d_forward(float*, const float*, const Pool2dShape&, const Pool2dDivisor&);
template void avg_pool2d_forward(double*, const double*, const Pool2dShape&, const Pool2dDivisor&);
template void avg_pool2d_backward(float*, const float*, const Pool2dShape&, const Pool2dDivisor&);
template void avg_pool2d_backward(double*, const double*, const Pool2dShape&, const Pool2dDivisor&);

}  // namespace striate::reference
