// dropout: before AlexNet's fully connected layers, at batch 64. (Backward is the same function.)
#include "striate/dropout.h"

#include <memory>

#include "bench/common.h"

int main(int argc, char** argv) {
  const struct {
    const char* name;
    int64_t features;
  } layers[] = {{"alexnet_6", 9216}, {"alexnet_7", 4096}};
  for (const auto& layer : layers) {
    const int64_t n = 64 * layer.features;
    const auto x = std::make_shared<std::vector<float>>(striate::bench::numbers(n));
    const auto y = std::make_shared<std::vector<float>>(n);
    striate::bench::add(
        std::string("dropout/") + layer.name, 8.0 * n,
        [=] {
          striate::cpu::dropout(y->data(), x->data(), n, 0.5, {.seed = 1, .call = 2, .step = 3}, 0);
        },
        "B/s");
  }
  return striate::bench::run(argc, argv);
}
