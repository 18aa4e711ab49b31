#include "striate/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "tests/case.h"

namespace striate::tests {
namespace {

Floats magnitudes(const float* values, int64_t n) {
  Floats result(values, values + n);
  for (float& value : result) value = std::fabs(value);
  return result;
}

}  // namespace

void cross_entropy(Case& test) {
  SoftmaxSizes sizes{.outer = 0,
                     .classes = test.one_of<int64_t>({1, 3, 10, 17, 100}),
                     .inner = test.one_of<int64_t>({1, 1, 5, 37})};
  sizes.outer = test.integer(1, std::clamp<int64_t>(6000 / (sizes.classes * sizes.inner), 1, 600));
  const int64_t rows = sizes.outer * sizes.inner, n = rows * sizes.classes;
  const Floats weight = magnitudes(test.normal(sizes.classes), sizes.classes);
  const Floats probabilities = magnitudes(test.normal(n), n);
  std::vector<int64_t> labels(rows);
  for (int64_t& label : labels) label = test.integer(0, sizes.classes - 1);
  const bool by_label = test.coin();
  const CrossEntropy<float> problem{
      .sizes = sizes,
      .labels = by_label ? labels.data() : nullptr,
      .probabilities = by_label ? nullptr : probabilities.data(),
      .weight = test.coin() ? weight.data() : nullptr,
      .ignore_index = sizes.classes > 1 ? test.one_of<int64_t>({-100, labels[rows / 2]}) : -100,
      .label_smoothing = test.one_of({0.0, 0.1}),
      .mean = false};
  const float *x = test.normal(n), *dys = test.normal(rows);
  const float* dy = test.coin() ? dys : nullptr;

  // A loss sums up to as many terms as there are classes, each about 4 large.
  const double atol = rounding(sizes.classes, 4);
  STRIATE_EXPECT_SAME(test, rows, atol, cross_entropy_forward(out, x, problem));
  STRIATE_EXPECT_SAME(test, n, atol, cross_entropy_backward(out, dy, 0.7, x, problem));
  CrossEntropy<float> mean = problem;
  mean.mean = true;
  const auto total = [&](auto function) {
    return [&, function](float* out) { *out = static_cast<float>(function()); };
  };
  test.expect("the mean",
              test.result(1, total([&] {
                            return reference::cross_entropy_forward<float>(nullptr, x, mean);
                          })),
              rounding(rows + sizes.classes, 4),
              total([&] { return cpu::cross_entropy_forward(nullptr, x, mean); }));
}

}  // namespace striate::tests
