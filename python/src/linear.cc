#include "striate/linear.h"

#include <pybind11/stl.h>

#include <array>

#include "arrays.h"
#include "backend.h"
#include "instances.h"
#include "linear_shape.h"
#include "ops.h"

namespace striate::bindings {
namespace {

using Need = std::array<bool, 3>;  // which gradients: (input, weight, bias)

}  // namespace

template <class T>
void register_linear(py::module_& m) {
  m.def(
      "linear_forward",
      [](const py::object& input, const py::object& weight, const py::object& bias) {
        const Input<T> x(input, "linear", "input"), w(weight, "linear", "weight");
        const OptionalInput<T> b(bias, "linear", "bias");
        const auto s = checked_linear_shape("linear", x, w);
        if (b) (*b).expect_shape({s.K}, "one for each output feature of weight");
        const auto op = choose(reference::linear_forward<T>, fast::linear_forward);
        return written<T>({s.N, s.K}, [&](T* to) { op(to, x.data(), w.data(), b.data(), s); });
      },
      py::arg("input"), py::arg("weight"), py::arg("bias"));
  m.def(
      "linear_backward",
      [](const py::object& grad, const py::object& input, const py::object& weight, Need need) {
        const char* const name = "linear_backward";
        const Input<T> dy(grad, name, "dy"), x(input, name, "input"), w(weight, name, "weight");
        const auto s = checked_linear_shape(name, x, w);
        dy.expect_shape({s.N, s.K}, "that of linear's result");
        py::object dx = py::none(), dw = py::none(), db = py::none();
        if (need[0]) {
          const auto op = choose(reference::linear_backward_data<T>, fast::linear_backward_data);
          dx = written<T>(x.shape(), [&](T* to) { op(to, dy.data(), w.data(), s); });
        }
        if (need[1]) {
          const auto op =
              choose(reference::linear_backward_weight<T>, fast::linear_backward_weight);
          dw = written<T>(w.shape(), [&](T* to) { op(to, dy.data(), x.data(), s); });
        }
        if (need[2]) {
          const auto op = choose(reference::linear_backward_bias<T>, fast::linear_backward_bias);
          db = written<T>({s.K}, [&](T* to) { op(to, dy.data(), s); });
        }
        return py::make_tuple(dx, dw, db);
      },
      py::arg("dy"), py::arg("input"), py::arg("weight"), py::arg("need"));
}

STRIATE_INSTANCES(register_linear)

}  // namespace striate::bindings
