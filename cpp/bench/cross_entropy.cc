// cross_entropy: the losses of LeNet-5 and AlexNet at batch 64, forward and backward.
#include "striate/cross_entropy.h"

#include <memory>

#include "bench/common.h"

int main(int argc, char** argv) {
  using striate::bench::add;
  using striate::bench::numbers;
  const struct {
    const char* name;
    int64_t classes;
  } losses[] = {{"lenet5", 10}, {"alexnet", 1000}};
  for (const auto& loss : losses) {
    constexpr int64_t kBatch = 64;
    const int64_t count = kBatch * loss.classes;
    const auto x = std::make_shared<std::vector<float>>(numbers(count));
    const auto dx = std::make_shared<std::vector<float>>(count);
    const auto labels = std::make_shared<std::vector<int64_t>>(kBatch);
    for (int64_t i = 0; i < kBatch; ++i) (*labels)[i] = 7 * i % loss.classes;
    const striate::CrossEntropy<float> problem = {
        .sizes = {.outer = kBatch, .classes = loss.classes, .inner = 1},
        .labels = labels->data(),
        .probabilities = nullptr,
        .weight = nullptr,
        .ignore_index = -100,
        .label_smoothing = 0,
        .mean = true};
    const std::string name = std::string("cross_entropy/") + loss.name;
    add(
        name + "/forward", 4.0 * count,
        [=] {
          static_cast<void>(labels);  // which problem points at
          benchmark::DoNotOptimize(
              striate::cpu::cross_entropy_forward(nullptr, x->data(), problem));
        },
        "B/s");
    add(
        name + "/backward", 8.0 * count,
        [=] {
          static_cast<void>(labels);
          striate::cpu::cross_entropy_backward(dx->data(), nullptr, 1, x->data(), problem);
        },
        "B/s");
  }
  return striate::bench::run(argc, argv);
}
