#include "striate/softmax.h"

#include "arrays.h"
#include "backend.h"
#include "instances.h"
#include "ops.h"

namespace striate::bindings {
namespace {

template <class T>
using SoftmaxForward = void(T* y, const T* x, const SoftmaxSizes& sizes);
template <class T>
using SoftmaxBackward = void(T* dx, const T* dy, const T* y, const SoftmaxSizes& sizes);

// The shape as (outer, classes, inner) around `dim`, which counts from the end where negative.
SoftmaxSizes sizes_around(const Shape& shape, int64_t dim, const char* op) {
  const int64_t ndim = static_cast<int64_t>(shape.size());
  const int64_t dims = ndim > 0 ? ndim : 1;  // a number is a row of one class
  if (dim < -dims || dim >= dims) {
    fail(op, "dim must be between " + std::to_string(-dims) + " and " + std::to_string(dims - 1) +
                 " for shape " + text(shape) + ", got " + std::to_string(dim));
  }
  SoftmaxSizes s{.outer = 1, .classes = 1, .inner = 1};
  for (int64_t i = 0; i < ndim; ++i) {
    const int64_t axis = dim < 0 ? dim + dims : dim;
    int64_t& size = i < axis ? s.outer : i == axis ? s.classes : s.inner;
    size = checked_product({size, shape[i]}, "elements");
  }
  return s;
}

template <class T>
void register_softmax_forward(py::module_& m, const char* function, const char* op,
                              SoftmaxForward<T>* reference, SoftmaxForward<float>* fast) {
  m.def(
      function,
      [=](const py::object& input, int64_t dim) {
        const Input<T> x(input, op, "input");
        const SoftmaxSizes sizes = sizes_around(x.shape(), dim, op);
        SoftmaxForward<T>* const run = choose(reference, fast);
        return written<T>(x.shape(), [&](T* to) { run(to, x.data(), sizes); });
      },
      py::arg("input"), py::arg("dim"));
}

template <class T>
void register_softmax_backward(py::module_& m, const char* op, SoftmaxBackward<T>* reference,
                               SoftmaxBackward<float>* fast) {
  m.def(
      op,
      [=](const py::object& grad, const py::object& result, int64_t dim) {
        const Input<T> dy(grad, op, "dy"), y(result, op, "y");
        dy.expect_shape(y.shape(), "that of y");
        const SoftmaxSizes sizes = sizes_around(y.shape(), dim, op);
        SoftmaxBackward<T>* const run = choose(reference, fast);
        return written<T>(y.shape(), [&](T* to) { run(to, dy.data(), y.data(), sizes); });
      },
      py::arg("dy"), py::arg("y"), py::arg("dim"));
}

}  // namespace

template <class T>
void register_softmax(py::module_& m) {
  register_softmax_forward<T>(m, "softmax_forward", "softmax", reference::softmax_forward,
                              fast::softmax_forward);
  register_softmax_backward<T>(m, "softmax_backward", reference::softmax_backward,
                               fast::softmax_backward);
  register_softmax_forward<T>(m, "log_softmax_forward", "log_softmax",
                              reference::log_softmax_forward, fast::log_softmax_forward);
  register_softmax_backward<T>(m, "log_softmax_backward", reference::log_softmax_backward,
                               fast::log_softmax_backward);
}

STRIATE_INSTANCES(register_softmax)

}  // namespace striate::bindings
