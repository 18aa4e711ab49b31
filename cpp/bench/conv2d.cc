// conv2d: the three passes over the layers of LeNet-5 (batch 64) and AlexNet (batch 16), by the
// algorithm that is chosen and by each that can run them. FLOP are those of the definition.
#include "striate/conv2d.h"

#include <memory>

#include "bench/common.h"
#include "cpu/conv2d_algorithm.h"

namespace {

struct Layer {
  const char* name;
  int64_t N, C, H, K, R, stride, pad;
};

striate::Conv2dShape shape_of(const Layer& l) {
  const int64_t P = striate::conv2d_output(l.H, 2 * l.pad, l.R, l.stride, 1);
  return {.N = l.N,
          .C = l.C,
          .H = l.H,
          .W = l.H,
          .K = l.K,
          .R = l.R,
          .S = l.R,
          .P = P,
          .Q = P,
          .stride_h = l.stride,
          .stride_w = l.stride,
          .pad_top = l.pad,
          .pad_left = l.pad,
          .pad_bottom = l.pad,
          .pad_right = l.pad};
}

struct Arrays {
  std::vector<float> x, w, b, y;
};

}  // namespace

int main(int argc, char** argv) {
  const Layer layers[] = {
      {"lenet5_conv1", 64, 1, 28, 6, 5, 1, 2},      {"lenet5_conv2", 64, 6, 14, 16, 5, 1, 0},
      {"alexnet_conv1", 16, 3, 224, 64, 11, 4, 2},  {"alexnet_conv2", 16, 64, 27, 192, 5, 1, 2},
      {"alexnet_conv3", 16, 192, 13, 384, 3, 1, 1}, {"alexnet_conv4", 16, 384, 13, 256, 3, 1, 1},
      {"alexnet_conv5", 16, 256, 13, 256, 3, 1, 1},
  };
  using striate::bench::numbers;
  for (const Layer& layer : layers) {
    const auto s = shape_of(layer);
    const double flop = 2.0 * s.N * s.K * s.PQ() * s.CRS();
    const auto a =
        std::make_shared<Arrays>(Arrays{numbers(s.N * s.C * s.H * s.W), numbers(s.K * s.CRS()),
                                        numbers(s.K), numbers(s.N * s.K * s.PQ())});
    for (const char* const algorithm : {"auto", "gemm", "winograd"}) {
      const auto add = [&](striate::cpu::Conv2dPass pass, const char* pass_name, auto run) {
        striate::cpu::set_conv2d_algorithm(algorithm);
        const std::string taken = striate::cpu::name_of(striate::cpu::conv2d_algorithm(pass, s));
        const std::string word = algorithm;
        if (word != "auto" && word != taken) return;  // it cannot run this shape
        striate::bench::add(std::string("conv2d/") + layer.name + "/" + pass_name + "/" + algorithm,
                            flop, [=] {
                              striate::cpu::set_conv2d_algorithm(word);
                              run();
                            });
      };
      add(striate::cpu::Conv2dPass::forward, "forward", [=] {
        striate::cpu::conv2d_forward(a->y.data(), a->x.data(), a->w.data(), a->b.data(), s);
      });
      add(striate::cpu::Conv2dPass::backward_data, "backward_data",
          [=] { striate::cpu::conv2d_backward_data(a->x.data(), a->y.data(), a->w.data(), s); });
      add(striate::cpu::Conv2dPass::backward_weight, "backward_weight",
          [=] { striate::cpu::conv2d_backward_weight(a->w.data(), a->y.data(), a->x.data(), s); });
    }
  }
  return striate::bench::run(argc, argv);
}
