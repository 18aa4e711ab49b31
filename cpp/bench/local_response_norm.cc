// local_response_norm: after the first two convolutions of the AlexNet of 2012.
#include "striate/local_response_norm.h"

#include <memory>

#include "bench/common.h"

int main(int argc, char** argv) {
  const struct {
    const char* name;
    int64_t C, H;
  } layers[] = {{"alexnet_2012_norm1", 96, 55}, {"alexnet_2012_norm2", 256, 27}};
  using striate::bench::add;
  using striate::bench::numbers;
  for (const auto& l : layers) {
    const striate::LocalResponseNorm s = {
        .N = 64, .C = l.C, .L = l.H * l.H, .size = 5, .alpha = 5e-4, .beta = 0.75, .k = 2};
    const int64_t count = s.N * s.C * s.L;
    const auto x = std::make_shared<std::vector<float>>(numbers(count));
    const auto dy = std::make_shared<std::vector<float>>(numbers(count));
    const auto y = std::make_shared<std::vector<float>>(count);
    const std::string name = std::string("local_response_norm/") + l.name;
    add(
        name + "/forward", 8.0 * count,
        [=] { striate::cpu::local_response_norm_forward(y->data(), x->data(), s); }, "B/s");
    add(
        name + "/backward", 12.0 * count,
        [=] { striate::cpu::local_response_norm_backward(y->data(), dy->data(), x->data(), s); },
        "B/s");
  }
  return striate::bench::run(argc, argv);
}
