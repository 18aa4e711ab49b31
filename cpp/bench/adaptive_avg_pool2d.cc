// adaptive_avg_pool2d: to AlexNet's 6 x 6, from the maps that images of several sizes give.
#include "striate/adaptive_avg_pool2d.h"

#include <memory>

#include "bench/common.h"

int main(int argc, char** argv) {
  using striate::bench::add;
  using striate::bench::numbers;
  for (const int64_t size : {3, 6, 12, 13}) {  // of 128, 224, 416 and 448 pixels
    const striate::AdaptiveAvgPool2dShape s = {
        .N = 64, .C = 256, .H = size, .W = size, .P = 6, .Q = 6};
    const int64_t in = s.N * s.C * s.H * s.W, out = s.N * s.C * s.P * s.Q;
    const auto x = std::make_shared<std::vector<float>>(numbers(in));
    const auto y = std::make_shared<std::vector<float>>(numbers(out));
    const std::string name = "adaptive_avg_pool2d/alexnet_" + std::to_string(size);
    add(
        name + "/forward", 4.0 * (in + out),
        [=] { striate::cpu::adaptive_avg_pool2d_forward(y->data(), x->data(), s); }, "B/s");
    add(
        name + "/backward", 4.0 * (in + out),
        [=] { striate::cpu::adaptive_avg_pool2d_backward(x->data(), y->data(), s); }, "B/s");
  }
  return striate::bench::run(argc, argv);
}
