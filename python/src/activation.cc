#include "striate/activation.h"

#include "arrays.h"
#include "backend.h"
#include "instances.h"
#include "ops.h"

namespace striate::bindings {
namespace {

// Names are string literals: an op's name is known when it is registered.
template <class T>
using Forward = void(T* y, const T* x, int64_t n);
template <class T>
using Backward = void(T* dx, const T* dy, const T* y, int64_t n);

template <class T>
void register_forward(py::module_& m, const char* function, const char* op, Forward<T>* reference,
                      Forward<float>* fast) {
  m.def(
      function,
      [=](const py::object& input) {
        const Input<T> x(input, op, "input");
        Forward<T>* const run = choose(reference, fast);
        return written<T>(x.shape(), [&](T* to) { run(to, x.data(), x.size()); });
      },
      py::arg("input"));
}

template <class T>
void register_backward(py::module_& m, const char* op, Backward<T>* reference,
                       Backward<float>* fast) {
  m.def(
      op,
      [=](const py::object& grad, const py::object& result) {
        const Input<T> dy(grad, op, "dy"), y(result, op, "y");
        dy.expect_shape(y.shape(), "that of y");
        Backward<T>* const run = choose(reference, fast);
        return written<T>(y.shape(), [&](T* to) { run(to, dy.data(), y.data(), y.size()); });
      },
      py::arg("dy"), py::arg("y"));
}

}  // namespace

template <class T>
void register_activation(py::module_& m) {
  register_forward<T>(m, "relu_forward", "relu", reference::relu_forward, fast::relu_forward);
  register_backward<T>(m, "relu_backward", reference::relu_backward, fast::relu_backward);
  register_forward<T>(m, "tanh_forward", "tanh", reference::tanh_forward, fast::tanh_forward);
  register_backward<T>(m, "tanh_backward", reference::tanh_backward, fast::tanh_backward);
  register_forward<T>(m, "sigmoid_forward", "sigmoid", reference::sigmoid_forward,
                      fast::sigmoid_forward);
  register_backward<T>(m, "sigmoid_backward", reference::sigmoid_backward, fast::sigmoid_backward);
}

STRIATE_INSTANCES(register_activation)

}  // namespace striate::bindings
