#include "striate/relu.h"

#include "arrays.h"
#include "backend.h"
#include "ops.h"

namespace striate::bindings {

template <class T>
void register_relu(py::module_& m) {
  m.def(
      "relu_forward",
      [](const py::object& input) {
        const Input<T> x(input, "relu", "input");
        auto y = output<T>(x.shape());
        const auto op = choose(reference::relu_forward<T>, cpu::relu_forward);
        {
          const py::gil_scoped_release nogil;
          op(data(y), x.data(), x.size());
        }
        return y;
      },
      py::arg("input"));
  m.def(
      "relu_backward",
      [](const py::object& grad, const py::object& result) {
        const Input<T> dy(grad, "relu_backward", "dy"), y(result, "relu_backward", "y");
        dy.expect_shape(y.shape(), "that of y");
        auto dx = output<T>(y.shape());
        const auto op = choose(reference::relu_backward<T>, cpu::relu_backward);
        {
          const py::gil_scoped_release nogil;
          op(data(dx), dy.data(), y.data(), y.size());
        }
        return dx;
      },
      py::arg("dy"), py::arg("y"));
}

template void register_relu<float>(py::module_& m);
template void register_relu<double>(py::module_& m);

}  // namespace striate::bindings
