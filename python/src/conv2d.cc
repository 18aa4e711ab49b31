#include "striate/conv2d.h"

#include <pybind11/stl.h>

#include <array>

#include "arrays.h"
#include "backend.h"
#include "conv2d_shape.h"
#include "instances.h"
#include "ops.h"

namespace striate::bindings {
namespace {

using Pair = Conv2dPair;
using Pads = Conv2dPads;
using Need = std::array<bool, 3>;  // which gradients: (input, weight, bias)

}  // namespace

template <class T>
void register_conv2d(py::module_& m) {
  m.def(
      "conv2d_forward",
      [](const py::object& input, const py::object& weight, const py::object& bias, Pair stride,
         Pads padding, Pair dilation, int64_t groups) {
        const Input<T> x(input, "conv2d", "input"), w(weight, "conv2d", "weight");
        const OptionalInput<T> b(bias, "conv2d", "bias");
        const auto s = checked_conv2d_shape("conv2d", x, w, stride, padding, dilation, groups);
        if (b) (*b).expect_shape({s.K}, "one for each output channel of weight");
        const auto op = choose(reference::conv2d_forward<T>, fast::conv2d_forward);
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
        const auto s = checked_conv2d_shape(name, x, w, stride, padding, dilation, groups);
        dy.expect_shape({s.N, s.K, s.P, s.Q}, "that of conv2d's result");
        py::object dx = py::none(), dw = py::none(), db = py::none();
        if (need[0]) {
          const auto op = choose(reference::conv2d_backward_data<T>, fast::conv2d_backward_data);
          dx = written<T>(x.shape(), [&](T* to) { op(to, dy.data(), w.data(), s); });
        }
        if (need[1]) {
          const auto op =
              choose(reference::conv2d_backward_weight<T>, fast::conv2d_backward_weight);
          dw = written<T>(w.shape(), [&](T* to) { op(to, dy.data(), x.data(), s); });
        }
        if (need[2]) {
          const auto op = choose(reference::conv2d_backward_bias<T>, fast::conv2d_backward_bias);
          db = written<T>({s.K}, [&](T* to) { op(to, dy.data(), s); });
        }
        return py::make_tuple(dx, dw, db);
      },
      py::arg("dy"), py::arg("input"), py::arg("weight"), py::arg("stride"), py::arg("padding"),
      py::arg("dilation"), py::arg("groups"), py::arg("need"));
}

STRIATE_INSTANCES(register_conv2d)

}  // namespace striate::bindings
