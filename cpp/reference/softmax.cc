#include "striate/softmax.h"

#include <cmath>
#include <limits>

namespace striate::reference {
namespace {

// Calls row(first): the classes of a row stand at first + c * inner.
template <class Row>
void for_each_row(const SoftmaxSizes& s, const Row& row) {
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t i = 0; i < s.inner; ++i) row(o * s.classes * s.inner + i);
  }
}

struct Peak {
  double max, sum;  // sum of exp(x - max)
};

template <class T>
Peak peak(const T* x, int64_t classes, int64_t inner) {
  Peak p{-std::numeric_limits<double>::infinity(), 0};
  for (int64_t c = 0; c < classes; ++c) p.max = x[c * inner] > p.max ? x[c * inner] : p.max;
  for (int64_t c = 0; c < classes; ++c) p.sum += std::exp(x[c * inner] - p.max);
  return p;
}

}  // namespace

template <class T>
void softmax_forward(T* y, const T* x, const SoftmaxSizes& s) {
  for_each_row(s, [&](int64_t first) {
    const Peak p = peak(x + first, s.classes, s.inner);
    for (int64_t c = 0; c < s.classes; ++c) {
      const int64_t i = first + c * s.inner;
      y[i] = static_cast<T>(std::exp(x[i] - p.max) / p.sum);
    }
  });
}

template <class T>
void softmax_backward(T* dx, const T* dy, const T* y, const SoftmaxSizes& s) {
  for_each_row(s, [&](int64_t first) {
    double dot = 0;
    for (int64_t c = 0; c < s.classes; ++c) {
      const int64_t i = first + c * s.inner;
      dot += double{dy[i]} * y[i];
    }
    for (int64_t c = 0; c < s.classes; ++c) {
      const int64_t i = first + c * s.inner;
      dx[i] = static_cast<T>(y[i] * (dy[i] - dot));
    }
  });
}

template <class T>
void log_softmax_forward(T* y, const T* x, const SoftmaxSizes& s) {
  for_each_row(s, [&](int64_t first) {
    const Peak p = peak(x + first, s.classes, s.inner);
    for (int64_t c = 0; c < s.classes; ++c) {
      const int64_t i = first + c * s.inner;
      y[i] = static_cast<T>(x[i] - p.max - std::log(p.sum));
    }
  });
}

template <class T>
void log_softmax_backward(T* dx, const T* dy, const T* y, const SoftmaxSizes& s) {
  for_each_row(s, [&](int64_t first) {
    double sum = 0;
    for (int64_t c = 0; c < s.classes; ++c) sum += dy[first + c * s.inner];
    for (int64_t c = 0; c < s.classes; ++c) {
      const int64_t i = first + c * s.inner;
      dx[i] = static_cast<T>(dy[i] - std::exp(double{y[i]}) * sum);
    }
  });
}

template void softmax_forward(float*, const float*, const SoftmaxSizes&);
template void softmax_forward(double*, const double*, const SoftmaxSizes&);
template void softmax_backward(float*, const float*, const float*, const SoftmaxSizes&);
template void softmax_backward(double*, const double*, const double*, const SoftmaxSizes&);
template void log_softmax_forward(float*, const float*, const SoftmaxSizes&);
template void log_softmax_forward(double*, const double*, const SoftmaxSizes&);
template void log_softmax_backward(float*, const float*, const float*, const SoftmaxSizes&);
template void log_softmax_backward(double*, const double*, const double*, const SoftmaxSizes&);

}  // namespace striate::reference
