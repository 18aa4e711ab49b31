// softmax and log_softmax: over the classes of LeNet-5 and AlexNet at batch 64, and over channels.
#include "striate/softmax.h"

#include <memory>

#include "bench/common.h"

int main(int argc, char** argv) {
  using striate::bench::add;
  using striate::bench::numbers;
  namespace cpu = striate::cpu;
  const struct {
    const char* name;
    striate::SoftmaxSizes sizes;
  } layers[] = {
      {"lenet5", {.outer = 64, .classes = 10, .inner = 1}},
      {"alexnet", {.outer = 64, .classes = 1000, .inner = 1}},
      {"channels_21", {.outer = 8, .classes = 21, .inner = 64 * 64}},
  };
  const struct {
    const char* name;
    void (*forward)(float*, const float*, const striate::SoftmaxSizes&);
    void (*backward)(float*, const float*, const float*, const striate::SoftmaxSizes&);
  } ops[] = {{"softmax", cpu::softmax_forward, cpu::softmax_backward},
             {"log_softmax", cpu::log_softmax_forward, cpu::log_softmax_backward}};
  for (const auto& op : ops) {
    for (const auto& layer : layers) {
      const auto s = layer.sizes;
      const int64_t count = s.outer * s.classes * s.inner;
      const auto x = std::make_shared<std::vector<float>>(numbers(count));
      const auto y = std::make_shared<std::vector<float>>(count);
      const auto dx = std::make_shared<std::vector<float>>(count);
      op.forward(y->data(), x->data(), s);
      const std::string name = std::string(op.name) + "/" + layer.name;
      const auto forward = op.forward;
      const auto backward = op.backward;
      add(name + "/forward", 8.0 * count, [=] { forward(y->data(), x->data(), s); }, "B/s");
      add(
          name + "/backward", 12.0 * count, [=] { backward(dx->data(), x->data(), y->data(), s); },
          "B/s");
    }
  }
  return striate::bench::run(argc, argv);
}
