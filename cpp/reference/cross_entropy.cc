#include "striate/cross_entropy.h"

#include <cmath>
#include <limits>
#include <vector>

namespace striate::reference {
namespace {

// log softmax of the row whose class c stands at x[c * stride].
template <class T>
std::vector<double> log_probabilities(const T* x, int64_t classes, int64_t stride) {
  double max = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t c = 0; c < classes; ++c) max = x[c * stride] > max ? x[c * stride] : max;
  for (int64_t c = 0; c < classes; ++c) sum += std::exp(x[c * stride] - max);
  std::vector<double> log_p(classes);
  for (int64_t c = 0; c < classes; ++c) log_p[c] = x[c * stride] - max - std::log(sum);
  return log_p;
}

// r_c of position i, such that l_i = -sum_c r_c log p_c: w_c times the smoothed probability of c.
template <class T>
std::vector<double> targets(const CrossEntropy<T>& p, int64_t i) {
  const auto [outer, classes, inner] = p.sizes;
  std::vector<double> r(classes);
  for (int64_t c = 0; c < classes; ++c) {
    const double q = p.labels != nullptr
                         ? p.labels[i] == c
                         : p.probabilities[(i / inner * classes + c) * inner + i % inner];
    r[c] = (1 - p.label_smoothing) * q + p.label_smoothing / classes;
    if (p.weight != nullptr) r[c] *= p.weight[c];
  }
  return r;
}

template <class T>
bool ignored(const CrossEntropy<T>& p, int64_t i) {
  return p.labels != nullptr && p.labels[i] == p.ignore_index;
}

// What the mean divides by.
template <class T>
double count(const CrossEntropy<T>& p) {
  double sum = 0;
  for (int64_t i = 0; i < p.sizes.outer * p.sizes.inner; ++i) {
    if (ignored(p, i)) continue;
    sum += p.labels != nullptr && p.weight != nullptr ? p.weight[p.labels[i]] : 1;
  }
  return sum;
}

}  // namespace

template <class T>
double cross_entropy_forward(T* losses, const T* x, const CrossEntropy<T>& p) {
  const auto [outer, classes, inner] = p.sizes;
  double total = 0;
  for (int64_t i = 0; i < outer * inner; ++i) {
    double loss = 0;
    if (!ignored(p, i)) {
      const T* row = x + i / inner * classes * inner + i % inner;
      const std::vector<double> log_p = log_probabilities(row, classes, inner);
      const std::vector<double> r = targets(p, i);
      for (int64_t c = 0; c < classes; ++c) {
        // A class that a label does not ask for is not there, even where log p is -inf.
        const bool asked = p.labels == nullptr || p.labels[i] == c || p.label_smoothing != 0;
        if (asked) loss -= r[c] * log_p[c];
      }
    }
    if (losses != nullptr) losses[i] = static_cast<T>(loss);
    total += loss;
  }
  return p.mean ? total / count(p) : total;
}

template <class T>
void cross_entropy_backward(T* dx, const T* dy, double dy_total, const T* x,
                            const CrossEntropy<T>& p) {
  const auto [outer, classes, inner] = p.sizes;
  const double g_total = p.mean ? dy_total / count(p) : dy_total;
  for (int64_t i = 0; i < outer * inner; ++i) {
    const int64_t first = i / inner * classes * inner + i % inner;
    const std::vector<double> log_p = log_probabilities(x + first, classes, inner);
    const std::vector<double> r = targets(p, i);
    const double g = dy != nullptr ? dy[i] : g_total;
    double sum = 0;
    for (int64_t c = 0; c < classes; ++c) sum += r[c];
    for (int64_t c = 0; c < classes; ++c) {
      const double d = ignored(p, i) ? 0 : g * (sum * std::exp(log_p[c]) - r[c]);
      dx[first + c * inner] = static_cast<T>(d);
    }
  }
}

template double cross_entropy_forward(float*, const float*, const CrossEntropy<float>&);
template double cross_entropy_forward(double*, const double*, const CrossEntropy<double>&);
template void cross_entropy_backward(float*, const float*, double, const float*,
                                     const CrossEntropy<float>&);
template void cross_entropy_backward(double*, const double*, double, const double*,
                                     const CrossEntropy<double>&);

}  // namespace striate::reference
