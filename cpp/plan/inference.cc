#include "plan/inference.h"

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "cpu/parallel.h"

namespace striate::plan {

Inference::Inference(const Dims& input, std::vector<Node> nodes,
                     const std::vector<std::vector<const float*>>& params)
    : input_(input),
      output_(nodes.empty() ? input : nodes.back().step->output()),
      nodes_(std::move(nodes)),
      kernels_(&cpu::kernels()) {
  memory_of_.push_back(0);
  last_read_.resize(nodes_.size());
  std::vector<int> reader(nodes_.size() + 1, -1);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const Step& step = *nodes_[i].step;
    size_.add(step);
    const int value = static_cast<int>(i) + 1;
    memory_of_.push_back(step.only_reshapes() ? memory_of_[nodes_[i].inputs[0]] : value);
    for (const int v : nodes_[i].inputs) reader[memory_of_[v]] = static_cast<int>(i);

    Weights& weights = weights_.emplace_back();
    const std::vector<int64_t> sizes = step.parameter_sizes();
    for (std::size_t p = 0; p < sizes.size(); ++p) {
      weights.params.push_back(nullptr);
      if (!step.forward_reads(p)) continue;
      weight_bytes_ += 4 * sizes[p];
      weights.copies.push_back(std::make_unique<cpu::Scratch>(sizes[p]));
      std::copy_n(params[i][p], sizes[p], weights.copies.back()->get());
      weights.params.back() = weights.copies.back()->get();
    }
    if (const int64_t floats = step.prepared_size(); floats > 0) {
      weight_bytes_ += 4 * floats;
      weights.prepared = std::make_unique<cpu::Scratch>(floats);
      step.prepare(weights.prepared->get(), params[i].data());
    }
  }
  for (std::size_t v = 1; v < reader.size(); ++v) {
    if (reader[v] >= 0) last_read_[reader[v]].push_back(static_cast<int>(v));
  }
}

void Inference::run(float* y, const float* x, int64_t n) const {
  if (kernels_ != &cpu::kernels()) {
    throw std::runtime_error(
        "the weights were prepared for another instruction set than the one that runs now: "
        "call prepare again after set_isa");
  }
  if (n == 0) return;
  if (size_.tiny(n)) {
    const cpu::Serially serially;
    return run_images(y, x, n);
  }
  if (!size_.small() || n == 1) return run_images(y, x, n);
  cpu::parallel_for(n, images_together(n), [&](int64_t begin, int64_t end) {
    run_images(y + begin * size_of(output_), x + begin * size_of(input_), end - begin);
  });
}

void Inference::run_images(float* y, const float* x, int64_t n) const {
  std::vector<std::optional<cpu::Scratch>> scratch(nodes_.size() + 1);
  std::vector<const float*> at(nodes_.size() + 1);
  at[0] = x;
  const int result = memory_of_.back();
  std::vector<const float*> inputs;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    const Step& step = *nodes_[i].step;
    const int value = static_cast<int>(i) + 1;
    if (step.only_reshapes()) {
      at[value] = at[nodes_[i].inputs[0]];
      continue;
    }
    inputs.clear();
    for (const int v : nodes_[i].inputs) inputs.push_back(at[v]);
    float* const to = value == result ? y : scratch[value].emplace(n * step.y_size()).get();
    step.forward({.y = to,
                  .x = inputs.data(),
                  .params = weights_[i].params.data(),
                  .prepared = weights_[i].prepared ? weights_[i].prepared->get() : nullptr,
                  .saved = nullptr,
                  .key = nullptr,
                  .n = n,
                  .first = 0});
    at[value] = to;
    for (const int v : last_read_[i]) scratch[v].reset();
  }
  if (result == 0) std::copy_n(x, n * size_of(output_), y);
}

}  // namespace striate::plan
