#include "striate/adaptive_avg_pool2d.h"

#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <string>

#include "arrays.h"
#include "backend.h"
#include "instances.h"
#include "ops.h"

namespace striate::bindings {
namespace {

using Size = std::array<std::optional<int64_t>, 2>;  // height, width; none: the input's own

AdaptiveAvgPool2dShape checked_shape(const char* op, const char* name, const Shape& input,
                                     const Size& output_size) {
  if (input.size() != 3 && input.size() != 4) {
    fail(op, std::string(name) + " must have 4 dimensions (N, C, H, W) or 3 (C, H, W), got " +
                 std::to_string(input.size()) + " with shape " + text(input));
  }
  for (const int64_t n : input) {
    if (n < 0) fail(op, std::string(name) + " must not be negative, got " + text(input));
  }
  const std::size_t c = input.size() - 3;
  const AdaptiveAvgPool2dShape s = {.N = c > 0 ? input[0] : 1,
                                    .C = input[c],
                                    .H = input[c + 1],
                                    .W = input[c + 2],
                                    .P = output_size[0].value_or(input[c + 1]),
                                    .Q = output_size[1].value_or(input[c + 2])};
  if (s.H == 0 || s.W == 0) {
    fail(op, std::string(name) + " must have a height and a width of at least 1, got shape " +
                 text(input));
  }
  check_range(op, "output_size", std::array{s.P, s.Q}, 1);
  checked_product({s.H, s.W}, "positions in a plane");
  checked_product({s.N, s.C, s.H, s.W}, "elements of the input");
  checked_product({s.P, s.Q}, "positions in an output plane");
  checked_product({s.N, s.C, s.P, s.Q}, "elements of the output");
  return s;
}

Shape output_shape(const Shape& input, const AdaptiveAvgPool2dShape& s) {
  Shape shape(input);
  shape[shape.size() - 2] = s.P;
  shape[shape.size() - 1] = s.Q;
  return shape;
}

}  // namespace

template <class T>
void register_adaptive_avg_pool2d(py::module_& m) {
  m.def(
      "adaptive_avg_pool2d_forward",
      [](const py::object& input, const Size& output_size) {
        constexpr const char* kOp = "adaptive_avg_pool2d";
        const Input<T> x(input, kOp, "input");
        const auto s = checked_shape(kOp, "input", x.shape(), output_size);
        const auto op =
            choose(reference::adaptive_avg_pool2d_forward<T>, fast::adaptive_avg_pool2d_forward);
        return written<T>(output_shape(x.shape(), s), [&](T* to) {
          if (x.size() > 0) op(to, x.data(), s);
        });
      },
      py::arg("input"), py::arg("output_size"));
  m.def(
      "adaptive_avg_pool2d_backward",
      [](const py::object& grad, const Shape& input_shape, const Size& output_size) {
        constexpr const char* kOp = "adaptive_avg_pool2d_backward";
        const auto s = checked_shape(kOp, "input_shape", input_shape, output_size);
        const Input<T> dy(grad, kOp, "dy");
        dy.expect_shape(output_shape(input_shape, s), "that of the output for this input_shape");
        const auto op =
            choose(reference::adaptive_avg_pool2d_backward<T>, fast::adaptive_avg_pool2d_backward);
        return written<T>(input_shape, [&](T* to) {
          if (dy.size() > 0) op(to, dy.data(), s);
        });
      },
      py::arg("dy"), py::arg("input_shape"), py::arg("output_size"));
}

STRIATE_INSTANCES(register_adaptive_avg_pool2d)

}  // namespace striate::bindings
