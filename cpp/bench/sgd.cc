// sgd_step: momentum and weight decay over all parameters of LeNet-5 and AlexNet.
#include "striate/sgd.h"

#include <memory>

#include "bench/common.h"

int main(int argc, char** argv) {
  const struct {
    const char* name;
    std::vector<int64_t> sizes;
  } models[] = {
      {"lenet5", {150, 6, 2400, 16, 48000, 120, 10080, 84, 840, 10}},
      {"alexnet",
       {23232, 64, 307200, 192, 663552, 384, 884736, 256, 589824, 256, 37748736, 4096, 16777216,
        4096, 4096000, 1000}},
  };
  for (const auto& model : models) {
    int64_t all = 0;
    for (const int64_t n : model.sizes) all += n;
    const auto w = std::make_shared<std::vector<float>>(striate::bench::numbers(all));
    const auto dw = std::make_shared<std::vector<float>>(*w);
    const auto v = std::make_shared<std::vector<float>>(all);
    std::vector<striate::SgdTensor<float>> tensors;
    int64_t at = 0;
    for (const int64_t n : model.sizes) {
      tensors.push_back({w->data() + at, dw->data() + at, v->data() + at, n, false});
      at += n;
    }
    striate::bench::add(
        std::string("sgd/") + model.name, 20.0 * all,  // w and v read and written, dw read
        [=] {
          static_cast<void>(w), static_cast<void>(dw),
              static_cast<void>(v);  // which tensors point at
          striate::cpu::sgd_step(tensors.data(), static_cast<int64_t>(tensors.size()),
                                 {.lr = 0,
                                  .momentum = 0.9,
                                  .dampening = 0,
                                  .weight_decay = 5e-4,
                                  .nesterov = false,
                                  .maximize = false});
        },
        "B/s");
  }
  return striate::bench::run(argc, argv);
}
