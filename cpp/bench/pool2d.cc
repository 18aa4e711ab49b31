// max_pool2d and avg_pool2d: the pooling layers of LeNet-5 and AlexNet, forward and backward.
#include "striate/pool2d.h"

#include <memory>

#include "bench/common.h"

namespace {

struct Layer {
  const char* name;
  int64_t C, H, R, stride;
};

struct Arrays {
  std::vector<float> x, y;
  std::vector<int32_t> indices;
};

}  // namespace

int main(int argc, char** argv) {
  const Layer layers[] = {
      {"lenet5_pool1", 6, 28, 2, 2},    {"lenet5_pool2", 16, 10, 2, 2},
      {"alexnet_pool1", 64, 55, 3, 2},  {"alexnet_pool2", 192, 27, 3, 2},
      {"alexnet_pool5", 256, 13, 3, 2},
  };
  using striate::bench::add;
  for (const Layer& l : layers) {
    const int64_t P = striate::pool2d_output_size(l.H, l.R, l.stride, 0, 0, 1, false);
    const striate::Pool2dShape s = {.N = 64,
                                    .C = l.C,
                                    .H = l.H,
                                    .W = l.H,
                                    .R = l.R,
                                    .S = l.R,
                                    .P = P,
                                    .Q = P,
                                    .stride_h = l.stride,
                                    .stride_w = l.stride};
    const int64_t in = s.N * s.C * s.H * s.W, out = s.N * s.C * s.P * s.Q;
    const auto a = std::make_shared<Arrays>(Arrays{
        striate::bench::numbers(in), striate::bench::numbers(out), std::vector<int32_t>(out)});
    striate::cpu::max_pool2d_forward(a->y.data(), a->indices.data(), a->x.data(), s);
    const double bytes = 4.0 * (in + out), with_indices = bytes + 4.0 * out;
    const std::string name = std::string("pool2d/") + l.name;
    add(
        name + "/max_forward", with_indices,
        [=] { striate::cpu::max_pool2d_forward(a->y.data(), a->indices.data(), a->x.data(), s); },
        "B/s");
    add(
        name + "/max_backward", with_indices,
        [=] { striate::cpu::max_pool2d_backward(a->x.data(), a->y.data(), a->indices.data(), s); },
        "B/s");
    const striate::Pool2dDivisor divisor = {.count_include_pad = true, .divisor_override = 0};
    add(
        name + "/avg_forward", bytes,
        [=] { striate::cpu::avg_pool2d_forward(a->y.data(), a->x.data(), s, divisor); }, "B/s");
    add(
        name + "/avg_backward", bytes,
        [=] { striate::cpu::avg_pool2d_backward(a->x.data(), a->y.data(), s, divisor); }, "B/s");
  }
  return striate::bench::run(argc, argv);
}
