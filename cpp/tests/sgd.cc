#include "striate/sgd.h"

#include <algorithm>

#include "tests/case.h"

namespace striate::tests {

// Two tensors, whose w and v are updated in `out`: w0 v0 w1 v1.
void sgd(Case& test) {
  const SgdOptions options{.lr = 0.05,
                           .momentum = 0.9,
                           .dampening = test.one_of({0.0, 0.3}),
                           .weight_decay = test.one_of({0.0, 5e-4}),
                           .nesterov = test.coin(),
                           .maximize = test.coin()};
  const int64_t sizes[] = {test.integer(1, 40), test.one_of<int64_t>({1, 500, 50000})};
  const int64_t n = 2 * (sizes[0] + sizes[1]);
  const bool momentum = test.coin(), first = test.coin();
  const float *state = test.normal(n), *dw = test.normal(sizes[0] + sizes[1]);
  const auto stepped = [&](auto step) {
    return [&, step](float* out) {
      std::copy_n(state, n, out);
      const float* gradient = dw;
      std::vector<SgdTensor<float>> tensors;
      for (const int64_t size : sizes) {
        tensors.push_back({.w = out,
                           .dw = gradient,
                           .v = momentum ? out + size : nullptr,
                           .n = size,
                           .first = first});
        out += 2 * size, gradient += size;
      }
      step(tensors.data(), std::ssize(tensors), options);
    };
  };
  const Floats expected =
      test.result(n, stepped([](auto... x) { reference::sgd_step<float>(x...); }));
  test.expect("sgd_step", expected, rounding(1), stepped([](auto... x) { cpu::sgd_step(x...); }));
}

}  // namespace striate::tests
