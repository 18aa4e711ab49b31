// A whole network for inference: fused steps in order, with weights of its own, run by one call.
#pragma once

#include <memory>

#include "cpu/isa.h"
#include "cpu/memory.h"
#include "plan/size.h"
#include "plan/step.h"

namespace striate::plan {

/// Values are numbered: 0 is the network's input, every node writes one more, the last is the
/// result.
struct Node {
  StepPtr step;
  std::vector<int> inputs;
};

class Inference {
 public:
  /// `params`: for each node its weights, which are copied or transformed here.
  Inference(const Dims& input, std::vector<Node> nodes,
            const std::vector<std::vector<const float*>>& params);

  const Dims& output() const { return output_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  const Dims& input() const { return input_; }
  /// Of the weights it holds.
  int64_t weight_bytes() const { return weight_bytes_; }

  /// y[n, output] for x[n, input]; any n, from any thread. Throws std::runtime_error when another
  /// instruction set runs than the weights were laid out for.
  void run(float* y, const float* x, int64_t n) const;

 private:
  struct Weights {
    std::vector<std::unique_ptr<cpu::Scratch>> copies;
    std::vector<const float*> params;
    std::unique_ptr<cpu::Scratch> prepared;
  };

  void run_images(float* y, const float* x, int64_t n) const;

  Dims input_, output_;
  std::vector<Node> nodes_;
  std::vector<Weights> weights_;
  std::vector<int> memory_of_;               // of each value: the one whose memory it shares
  std::vector<std::vector<int>> last_read_;  // by each node: memory that then may go
  NetworkSize size_;
  int64_t weight_bytes_ = 0;
  const cpu::Kernels* kernels_;
};

}  // namespace striate::plan
