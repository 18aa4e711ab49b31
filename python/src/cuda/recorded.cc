// What only CUDA has: fused steps, and ops that read from the device what changes from step to step,
// so that a recorded step (a CUDA graph) can be replayed.
#include <pybind11/stl.h>

#include <array>

#include "arrays.h"
#include "conv2d_shape.h"
#include "linear_shape.h"
#include "ops_cuda.h"
#include "sgd_tensors.h"
#include "striate/dropout.h"

namespace striate::bindings {
namespace {

uint32_t word(int64_t value) { return static_cast<uint32_t>(value); }

void register_dropout_at(py::module_& m, const char* function, const char* op, const char* name) {
  m.def(
      function,
      [=](const py::object& input, double p, uint64_t seed, int64_t call, const py::object& step,
          int64_t offset) {
        const Input<float> x(input, op, name);
        const Input<uint32_t> at(step, op, "step");
        at.expect_shape({}, "a number");
        const DropoutKey key{.seed = seed, .call = word(call), .step = 0};
        return written<float>(x.shape(), [&](float* to) {
          cuda::dropout(to, x.data(), x.size(), p, key, offset, at.data());
        });
      },
      py::arg(name), py::arg("p"), py::arg("seed"), py::arg("call"), py::arg("step"),
      py::arg("offset") = 0);
}

}  // namespace

void register_recorded(py::module_& m) {
  register_dropout_at(m, "recorded_dropout_forward", "dropout", "input");
  register_dropout_at(m, "recorded_dropout_backward", "dropout_backward", "dy");
  m.def(
      "recorded_sgd_step",
      [](const py::sequence& params, const py::sequence& grads,
         const std::optional<py::sequence>& buffers, const std::vector<bool>& first,
         const py::object& rates, bool nesterov, bool maximize) {
        const SgdTensors<float> tensors(params, grads, buffers, first);
        const Input<float> values(rates, "sgd_step", "rates");
        values.expect_shape({4}, "lr, momentum, 1 - dampening, weight_decay");
        const SgdOptions options{.lr = 0,
                                 .momentum = 0,
                                 .dampening = 0,
                                 .weight_decay = 0,
                                 .nesterov = nesterov,
                                 .maximize = maximize};
        without_gil([&] {
          cuda::sgd_step(tensors.data(), tensors.count(), options,
                         reinterpret_cast<const cuda::SgdRates*>(values.data()));
        });
      },
      py::arg("params"), py::arg("grads"), py::arg("buffers"), py::arg("first"), py::arg("rates"),
      py::arg("nesterov") = false, py::arg("maximize") = false);
  m.def(
      "conv2d_relu_forward",
      [](const py::object& input, const py::object& weight, const py::object& bias,
         Conv2dPair stride, Conv2dPads padding, Conv2dPair dilation, int64_t groups) {
        const Input<float> x(input, "conv2d", "input"), w(weight, "conv2d", "weight");
        const OptionalInput<float> b(bias, "conv2d", "bias");
        const auto s = checked_conv2d_shape("conv2d", x, w, stride, padding, dilation, groups);
        if (b) (*b).expect_shape({s.K}, "one for each output channel of weight");
        return written<float>({s.N, s.K, s.P, s.Q}, [&](float* to) {
          cuda::conv2d_relu_forward(to, x.data(), w.data(), b.data(), s);
        });
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
      py::arg("dilation"), py::arg("groups"));
  m.def(
      "linear_relu_forward",
      [](const py::object& input, const py::object& weight, const py::object& bias) {
        const Input<float> x(input, "linear", "input"), w(weight, "linear", "weight");
        const OptionalInput<float> b(bias, "linear", "bias");
        const auto s = checked_linear_shape("linear", x, w);
        if (b) (*b).expect_shape({s.K}, "one for each output feature of weight");
        return written<float>({s.N, s.K}, [&](float* to) {
          cuda::linear_relu_forward(to, x.data(), w.data(), b.data(), s);
        });
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"));
}

}  // namespace striate::bindings
