#include "striate/local_response_norm.h"

#include "arrays.h"
#include "backend.h"
#include "instances.h"
#include "ops.h"

namespace striate::bindings {
namespace {

template <class T>
LocalResponseNorm sizes(const Input<T>& x, const char* op, int64_t size, double alpha, double beta,
                        double k) {
  if (x.ndim() < 3) {
    fail(op, "input must have 3 or more dimensions (N, C, ...), got " + std::to_string(x.ndim()) +
                 " with shape " + text(x.shape()));
  }
  if (size < 1) fail(op, "size must be at least 1, got " + std::to_string(size));
  int64_t places = 1;
  for (int64_t axis = 2; axis < x.ndim(); ++axis) {
    places = checked_product({places, x[axis]}, "elements");
  }
  return {.N = x[0], .C = x[1], .L = places, .size = size, .alpha = alpha, .beta = beta, .k = k};
}

}  // namespace

template <class T>
void register_local_response_norm(py::module_& m) {
  m.def(
      "local_response_norm_forward",
      [](const py::object& input, int64_t size, double alpha, double beta, double k) {
        const Input<T> x(input, "local_response_norm", "input");
        const auto s = sizes(x, "local_response_norm", size, alpha, beta, k);
        const auto op =
            choose(reference::local_response_norm_forward<T>, fast::local_response_norm_forward);
        return written<T>(x.shape(), [&](T* to) {
          if (x.size() > 0) op(to, x.data(), s);
        });
      },
      py::arg("input"), py::arg("size"), py::arg("alpha"), py::arg("beta"), py::arg("k"));
  m.def(
      "local_response_norm_backward",
      [](const py::object& grad, const py::object& input, int64_t size, double alpha, double beta,
         double k) {
        constexpr const char* kOp = "local_response_norm_backward";
        const Input<T> dy(grad, kOp, "dy"), x(input, kOp, "input");
        const auto s = sizes(x, kOp, size, alpha, beta, k);
        dy.expect_shape(x.shape(), "that of input");
        const auto op =
            choose(reference::local_response_norm_backward<T>, fast::local_response_norm_backward);
        return written<T>(x.shape(), [&](T* to) {
          if (x.size() > 0) op(to, dy.data(), x.data(), s);
        });
      },
      py::arg("dy"), py::arg("input"), py::arg("size"), py::arg("alpha"), py::arg("beta"),
      py::arg("k"));
}

STRIATE_INSTANCES(register_local_response_norm)

}  // namespace striate::bindings
