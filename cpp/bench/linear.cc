// linear: the three passes over the fully connected layers, at batch 64 and for one image.
#include "striate/linear.h"

#include <memory>

#include "bench/common.h"

int main(int argc, char** argv) {
  const struct {
    const char* name;
    int64_t N, C, K;
  } layers[] = {
      {"lenet5_fc1", 64, 400, 120},
      {"alexnet_fc6", 64, 9216, 4096},
      {"alexnet_fc7", 64, 4096, 4096},
      {"alexnet_fc8", 64, 4096, 1000},
      {"alexnet_fc6_one_image", 1, 9216, 4096},
  };
  struct Arrays {
    std::vector<float> x, w, b, y;
  };
  using striate::bench::add;
  using striate::bench::numbers;
  for (const auto& l : layers) {
    const striate::LinearShape s = {l.N, l.C, l.K};
    const auto a = std::make_shared<Arrays>(
        Arrays{numbers(s.N * s.C), numbers(s.K * s.C), numbers(s.K), numbers(s.N * s.K)});
    const double flop = 2.0 * s.N * s.C * s.K;
    const std::string name = std::string("linear/") + l.name;
    add(name + "/forward", flop, [=] {
      striate::cpu::linear_forward(a->y.data(), a->x.data(), a->w.data(), a->b.data(), s);
    });
    add(name + "/backward_data", flop,
        [=] { striate::cpu::linear_backward_data(a->x.data(), a->y.data(), a->w.data(), s); });
    add(name + "/backward_weight", flop,
        [=] { striate::cpu::linear_backward_weight(a->w.data(), a->y.data(), a->x.data(), s); });
  }
  return striate::bench::run(argc, argv);
}
