#include "striate/linear.h"

#include <pybind11/stl.h>

#include <array>

#include "arrays.h"
#include "backend.h"
#include "ops.h"

namespace striate::bindings {
namespace {

using Need = std::array<bool, 3>;  // which gradients: (input, weight, bias)

template <class T>
LinearShape checked_shape(const char* op, const Input<T>& x, const Input<T>& w) {
  x.expect_ndim(2, "(N, in_features)");
  w.expect_ndim(2, "(out_features, in_features)");
  if (x[1] != w[1]) {
    fail(op, "weight takes " + std::to_string(w[1]) + " features, but input has " +
                 std::to_string(x[1]) + "; input " + text(x.shape()) + ", weight " +
                 text(w.shape()));
  }
  return {.N = x[0], .C = x[1], .K = w[0]};
}

}  // namespace

template <class T>
void register_linear(py::module_& m) {
  m.def(
      "linear_forward",
      [](const py::object& input, const py::object& weight, const py::object& bias) {
        const Input<T> x(input, "linear", "input"), w(weight, "linear", "weight");
        const OptionalInput<T> b(bias, "linear", "bias");
        const auto s = checked_shape("linear", x, w);
        if (b) (*b).expect_shape({s.K}, "one for each output feature of weight");
        const auto op = choose(reference::linear_forward<T>, cpu::linear_forward);
        return written<T>({s.N, s.K}, [&](T* to) { op(to, x.data(), w.data(), b.data(), s); });
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"));
  m.def(
      "linear_backward",
      [](const py::object& grad, const py::object& input, const py::object& weight, Need need) {
        const char* const name = "linear_backward";
        const Input<T> dy(grad, name, "dy"), x(input, name, "input"), w(weight, name, "weight");
        const auto s = checked_shape(name, x, w);
        dy.expect_shape({s.N, s.K}, "that of linear's result");
        py::object dx = py::none(), dw = py::none(), db = py::none();
        if (need[0]) {
          const auto op = choose(reference::linear_backward_data<T>, cpu::linear_backward_data);
          dx = written<T>(x.shape(), [&](T* to) { op(to, dy.data(), w.data(), s); });
        }
        if (need[1]) {
          const auto op = choose(reference::linear_backward_weight<T>, cpu::linear_backward_weight);
          dw = written<T>(w.shape(), [&](T* to) { op(to, dy.data(), x.data(), s); });
        }
        if (need[2]) {
          const auto op = choose(reference::linear_backward_bias<T>, cpu::linear_backward_bias);
          db = written<T>({s.K}, [&](T* to) { op(to, dy.data(), s); });
        }
        return py::make_tuple(dx, dw, db);
      },
      py::arg("dy"), py::arg("input"), py::arg("weight"), py::arg("need"));
}

template void register_linear<float>(py::module_& m);
template void register_linear<double>(py::module_& m);

}  // namespace striate::bindings
