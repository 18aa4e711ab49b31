// Which of its algorithms conv2d takes for a shape, for tests and benchmarks.
#include "cpu/conv2d_algorithm.h"

#include <pybind11/stl.h>

#include <array>

#include "checks.h"
#include "ops.h"
#include "striate/conv2d.h"

namespace striate::bindings {

using Pair = std::array<int64_t, 2>;
using Pads = std::array<int64_t, 4>;

void register_conv2d_algorithm(py::module_& m) {
  m.def(
      "conv2d_algorithm",
      [](const std::string& pass, std::array<int64_t, 4> input, std::array<int64_t, 4> weight,
         Pair stride, Pads pads, Pair dilation, int64_t groups) {
        const auto [N, C, H, W] = input;
        const auto [K, c, R, S] = weight;
        const Conv2dShape s{.N = N,
                            .C = C,
                            .H = H,
                            .W = W,
                            .K = K,
                            .R = R,
                            .S = S,
                            .P = conv2d_output(H, pads[0] + pads[2], R, stride[0], dilation[0]),
                            .Q = conv2d_output(W, pads[1] + pads[3], S, stride[1], dilation[1]),
                            .G = groups,
                            .stride_h = stride[0],
                            .stride_w = stride[1],
                            .pad_top = pads[0],
                            .pad_left = pads[1],
                            .pad_bottom = pads[2],
                            .pad_right = pads[3],
                            .dilation_h = dilation[0],
                            .dilation_w = dilation[1]};
        if (groups < 1 || c * groups != C || K % groups != 0 || s.P < 1 || s.Q < 1) {
          fail("conv2d_algorithm", "there is no convolution of input " + text({N, C, H, W}) +
                                       " by weight " + text({K, c, R, S}));
        }
        if (pass == "forward") return name_of(conv2d_algorithm(cpu::Conv2dPass::forward, s));
        if (pass == "backward_data") {
          return name_of(conv2d_algorithm(cpu::Conv2dPass::backward_data, s));
        }
        if (pass == "backward_weight") {
          return name_of(conv2d_algorithm(cpu::Conv2dPass::backward_weight, s));
        }
        fail("conv2d_algorithm",
             "pass must be 'forward', 'backward_data' or 'backward_weight', got '" + pass + "'");
      },
      py::arg("pass_"), py::arg("input_shape"), py::arg("weight_shape"), py::arg("stride"),
      py::arg("padding"), py::arg("dilation"), py::arg("groups"));
  m.def("set_conv2d_algorithm", &cpu::set_conv2d_algorithm, py::arg("name"));
}

}  // namespace striate::bindings
