// relu, tanh and sigmoid: forward and backward, over the layers of LeNet-5 and AlexNet.
#include "striate/activation.h"

#include <memory>

#include "bench/common.h"

int main(int argc, char** argv) {
  using striate::bench::add;
  using striate::bench::numbers;
  namespace cpu = striate::cpu;
  const struct {
    const char* name;
    int64_t count;
  } layers[] = {
      {"lenet5_relu1", 64 * 6 * 28 * 28},
      {"alexnet_relu1", 64 * 64 * 55 * 55},
      {"alexnet_relu6", 64 * 4096},
  };
  const struct {
    const char* name;
    void (*forward)(float*, const float*, int64_t);
    void (*backward)(float*, const float*, const float*, int64_t);
  } ops[] = {{"relu", cpu::relu_forward, cpu::relu_backward},
             {"tanh", cpu::tanh_forward, cpu::tanh_backward},
             {"sigmoid", cpu::sigmoid_forward, cpu::sigmoid_backward}};
  for (const auto& op : ops) {
    for (const auto& layer : layers) {
      const int64_t n = layer.count;
      const auto x = std::make_shared<std::vector<float>>(numbers(n));
      const auto y = std::make_shared<std::vector<float>>(numbers(n));
      const auto to = std::make_shared<std::vector<float>>(n);
      const std::string name = std::string(op.name) + "/" + layer.name;
      const auto forward = op.forward;
      const auto backward = op.backward;
      add(name + "/forward", 8.0 * n, [=] { forward(to->data(), x->data(), n); }, "B/s");
      add(
          name + "/backward", 12.0 * n, [=] { backward(to->data(), x->data(), y->data(), n); },
          "B/s");
    }
  }
  return striate::bench::run(argc, argv);
}
