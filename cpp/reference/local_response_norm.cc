#include "striate/local_response_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace striate::reference {
namespace {

// The denominators' bases d of the C channels at one place; channels are L elements apart.
template <class T>
void bases(std::vector<double>& d, const T* x, const LocalResponseNorm& s) {
  for (int64_t c = 0; c < s.C; ++c) {
    const int64_t first = std::max<int64_t>(0, c - s.size / 2);
    const int64_t last = std::min(s.C - 1, c + (s.size - 1) / 2);
    double energy = 0;
    for (int64_t j = first; j <= last; ++j) energy += double(x[j * s.L]) * x[j * s.L];
    d[c] = s.k + s.alpha / s.size * energy;
  }
}

}  // namespace

template <class T>
void local_response_norm_forward(T* y, const T* x, const LocalResponseNorm& s) {
  std::vector<double> d(s.C);
  for (int64_t n = 0; n < s.N; ++n, x += s.C * s.L, y += s.C * s.L) {
    for (int64_t l = 0; l < s.L; ++l) {
      bases(d, x + l, s);
      for (int64_t c = 0; c < s.C; ++c) {
        y[c * s.L + l] = static_cast<T>(x[c * s.L + l] * std::pow(d[c], -s.beta));
      }
    }
  }
}

template <class T>
void local_response_norm_backward(T* dx, const T* dy, const T* x, const LocalResponseNorm& s) {
  std::vector<double> d(s.C);
  for (int64_t n = 0; n < s.N; ++n, x += s.C * s.L, dx += s.C * s.L, dy += s.C * s.L) {
    for (int64_t l = 0; l < s.L; ++l) {
      bases(d, x + l, s);
      for (int64_t c = 0; c < s.C; ++c) {
        const int64_t first = std::max<int64_t>(0, c - (s.size - 1) / 2);
        const int64_t last = std::min(s.C - 1, c + s.size / 2);
        double sum = 0;
        for (int64_t j = first; j <= last; ++j) {
          const int64_t i = j * s.L + l;
          sum += double(dy[i]) * x[i] * std::pow(d[j], -s.beta - 1);
        }
        const int64_t i = c * s.L + l;
        dx[i] = static_cast<T>(dy[i] * std::pow(d[c], -s.beta) -
                               2 * s.alpha * s.beta / s.size * x[i] * sum);
      }
    }
  }
}

template void local_response_norm_forward(float*, const float*, const LocalResponseNorm&);
template void local_response_norm_forward(double*, const double*, const LocalResponseNorm&);
template void local_response_norm_backward(float*, const float*, const float*,
                                           const LocalResponseNorm&);
template void local_response_norm_backward(double*, const double*, const double*,
                                           const LocalResponseNorm&);

}  // namespace striate::reference
