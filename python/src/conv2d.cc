#include "striate/conv2d.h"

#include <pybind11/stl.h>

#include <array>

#include "arrays.h"
#include "backend.h"
#include "cpu/conv2d_algorithm.h"
#include "ops.h"

namespace striate::bindings {
namespace {

using Pair = std::array<int64_t, 2>;  // (height, width)
using Pads = std::array<int64_t, 4>;  // (top, left, bottom, right)
using Need = std::array<bool, 3>;     // which gradients: (input, weight, bias)

// The shape of a convolution, checked: every message names the argument and the values at odds.
template <class T>
Conv2dShape checked_shape(const char* op, const Input<T>& x, const Input<T>& w, Pair stride,
                          Pads pads, Pair dilation, int64_t groups) {
  x.expect_ndim(4, "(N, C, H, W)");
  w.expect_ndim(4, "(out_channels, in_channels / groups, height, width)");
  Conv2dShape s{.N = x[0],
                .C = x[1],
                .H = x[2],
                .W = x[3],
                .K = w[0],
                .R = w[2],
                .S = w[3],
                .P = 0,
                .Q = 0,
                .G = groups};
  const std::string shapes = "; input " + text(x.shape()) + ", weight " + text(w.shape());
  if (w.size() == 0) fail(op, "weight must not be empty, got shape " + text(w.shape()));
  if (groups < 1) fail(op, "groups must be at least 1, got " + std::to_string(groups));
  if (s.C % groups != 0 || s.K % groups != 0) {
    fail(op, "groups=" + std::to_string(groups) + " must divide the input's " +
                 std::to_string(s.C) + " channels and the weight's " + std::to_string(s.K) +
                 " output channels" + shapes);
  }
  if (w[1] != s.C / groups) {
    fail(op, "weight has " + std::to_string(w[1]) + " input channels a group, but input has " +
                 std::to_string(s.C) + " channels in groups=" + std::to_string(groups) + shapes);
  }
  check_range(op, "stride", stride, 1);
  check_range(op, "dilation", dilation, 1);
  check_range(op, "padding", pads, 0);
  check_range<2>(op, "weight's height and width", {s.R, s.S}, 1);
  s.stride_h = stride[0], s.stride_w = stride[1];
  s.dilation_h = dilation[0], s.dilation_w = dilation[1];
  s.pad_top = pads[0], s.pad_left = pads[1], s.pad_bottom = pads[2], s.pad_right = pads[3];
  s.P = conv2d_output(s.H, pads[0] + pads[2], s.R, s.stride_h, s.dilation_h);
  s.Q = conv2d_output(s.W, pads[1] + pads[3], s.S, s.stride_w, s.dilation_w);
  if (s.P < 1 || s.Q < 1) {
    fail(op, "the kernel " + text({s.dilation_h * (s.R - 1) + 1, s.dilation_w * (s.S - 1) + 1}) +
                 " (with dilation) is larger than the padded input " +
                 text({s.H + pads[0] + pads[2], s.W + pads[1] + pads[3]}) + shapes);
  }
  checked_product({s.P, s.Q}, "output pixels");
  return s;
}

}  // namespace

template <class T>
void register_conv2d(py::module_& m) {
  m.def(
      "conv2d_forward",
      [](const py::object& input, const py::object& weight, const py::object& bias, Pair stride,
         Pads padding, Pair dilation, int64_t groups) {
        const Input<T> x(input, "conv2d", "input"), w(weight, "conv2d", "weight");
        const OptionalInput<T> b(bias, "conv2d", "bias");
        const auto s = checked_shape("conv2d", x, w, stride, padding, dilation, groups);
        if (b) (*b).expect_shape({s.K}, "one for each output channel of weight");
        const auto op = choose(reference::conv2d_forward<T>, cpu::conv2d_forward);
        return written<T>({s.N, s.K, s.P, s.Q},
                          [&](T* to) { op(to, x.data(), w.data(), b.data(), s); });
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"), py::arg("stride"), py::arg("padding"),
      py::arg("dilation"), py::arg("groups"));
  m.def(
      "conv2d_backward",
      [](const py::object& grad, const py::object& input, const py::object& weight, Pair stride,
         Pads padding, Pair dilation, int64_t groups, Need need) {
        const char* const name = "conv2d_backward";
        const Input<T> dy(grad, name, "dy"), x(input, name, "input"), w(weight, name, "weight");
        const auto s = checked_shape(name, x, w, stride, padding, dilation, groups);
        dy.expect_shape({s.N, s.K, s.P, s.Q}, "that of conv2d's result");
        py::object dx = py::none(), dw = py::none(), db = py::none();
        if (need[0]) {
          const auto op = choose(reference::conv2d_backward_data<T>, cpu::conv2d_backward_data);
          dx = written<T>(x.shape(), [&](T* to) { op(to, dy.data(), w.data(), s); });
        }
        if (need[1]) {
          const auto op = choose(reference::conv2d_backward_weight<T>, cpu::conv2d_backward_weight);
          dw = written<T>(w.shape(), [&](T* to) { op(to, dy.data(), x.data(), s); });
        }
        if (need[2]) {
          const auto op = choose(reference::conv2d_backward_bias<T>, cpu::conv2d_backward_bias);
          db = written<T>({s.K}, [&](T* to) { op(to, dy.data(), s); });
        }
        return py::make_tuple(dx, dw, db);
      },
      py::arg("dy"), py::arg("input"), py::arg("weight"), py::arg("stride"), py::arg("padding"),
      py::arg("dilation"), py::arg("groups"), py::arg("need"));
}

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

template void register_conv2d<float>(py::module_& m);
template void register_conv2d<double>(py::module_& m);

}  // namespace striate::bindings
