#include "striate/pool2d.h"

#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <array>
#include <optional>
#include <utility>

#include "arrays.h"
#include "backend.h"
#include "instances.h"
#include "ops.h"

namespace striate::bindings {
namespace {

using Pair = std::array<int64_t, 2>;  // height, width
using Pads = std::array<int64_t, 4>;  // top, left, bottom, right

constexpr const char* kOutputShape = "that of the output for this input_shape";

struct Window {
  Pair kernel, stride;
  Pads padding;
  Pair dilation;
  bool ceil_mode;
};

// Everything that the kernels rely on: see cpp/include/striate/pool2d.h.
Pool2dShape checked_shape(const char* op, const char* name, const Shape& input, const Window& w) {
  if (input.size() != 3 && input.size() != 4) {
    fail(op, std::string(name) + " must have 4 dimensions (N, C, H, W) or 3 (C, H, W), got " +
                 std::to_string(input.size()) + " with shape " + text(input));
  }
  const std::size_t c = input.size() - 3;
  const Pair size = {input[c + 1], input[c + 2]};
  for (const int64_t n : input) {
    if (n < 0) fail(op, std::string(name) + " must not be negative, got " + text(input));
  }
  if (size[0] == 0 || size[1] == 0) {
    fail(op, std::string(name) + " must have a height and a width of at least 1, got shape " +
                 text(input));
  }
  check_range(op, "kernel_size", w.kernel, 1);
  check_range(op, "stride", w.stride, 1);
  check_range(op, "padding", w.padding, 0);
  check_range(op, "dilation", w.dilation, 1);
  checked_product({size[0], size[1]}, "positions in a plane");
  checked_product({c > 0 ? input[0] : 1, input[c], size[0], size[1]}, "elements of the input");
  Pair out;
  for (int axis = 0; axis < 2; ++axis) {
    const int64_t before = w.padding[axis], after = w.padding[axis + 2];
    if (before > w.kernel[axis] / 2 || after > w.kernel[axis] / 2) {
      fail(op, "padding must be at most half of kernel_size, got padding " + text(w.padding) +
                   " (top, left, bottom, right) and kernel_size " + text(w.kernel));
    }
    out[axis] = pool2d_output_size(size[axis], w.kernel[axis], w.stride[axis], before, after,
                                   w.dilation[axis], w.ceil_mode);
    if (out[axis] < 1) {
      const Pair padded = {size[0] + w.padding[0] + w.padding[2],
                           size[1] + w.padding[1] + w.padding[3]};
      const Pair reach = {w.dilation[0] * (w.kernel[0] - 1) + 1,
                          w.dilation[1] * (w.kernel[1] - 1) + 1};
      fail(op, "kernel_size " + text(w.kernel) + " with dilation " + text(w.dilation) + " covers " +
                   text(reach) + ", which is larger than the padded input " + text(padded) + "; " +
                   name + " has shape " + text(input));
    }
  }
  const Pool2dShape s = {.N = c > 0 ? input[0] : 1,
                         .C = input[c],
                         .H = size[0],
                         .W = size[1],
                         .R = w.kernel[0],
                         .S = w.kernel[1],
                         .P = out[0],
                         .Q = out[1],
                         .stride_h = w.stride[0],
                         .stride_w = w.stride[1],
                         .top = w.padding[0],
                         .left = w.padding[1],
                         .bottom = w.padding[2],
                         .right = w.padding[3],
                         .dilation_h = w.dilation[0],
                         .dilation_w = w.dilation[1]};
  checked_product({s.P, s.Q}, "positions in an output plane");
  checked_product({s.N, s.C, s.P, s.Q}, "elements of the output");
  return s;
}

Shape output_shape(const Shape& input, const Pool2dShape& s) {
  Shape shape(input);
  shape[shape.size() - 2] = s.P;
  shape[shape.size() - 1] = s.Q;
  return shape;
}

Pool2dShape max_pool2d_shape(const char* op, const char* name, const Shape& input,
                             const Window& w) {
  const Pool2dShape s = checked_shape(op, name, input, w);
  if (s.H * s.W > kLargest) {
    fail(op, std::string(name) + " must have at most 2^31 - 1 positions in a plane, which int32 " +
                 "indices can count, got shape " + text(input));
  }
  return s;
}

Pool2dDivisor checked_divisor(const char* op, bool count_include_pad,
                              const std::optional<int64_t>& divisor_override) {
  if (divisor_override == 0) fail(op, "divisor_override must not be 0");
  return {count_include_pad, divisor_override.value_or(0)};
}

[[noreturn]] void fail_index(const char* op, int64_t index, const Pool2dShape& s) {
  fail(op, "indices must be positions in the input plane, 0 <= h * W + w < " +
               text(Pair{s.H, s.W}) + " = " + std::to_string(s.H * s.W) + ", got " +
               std::to_string(index));
}

template <class T>
void register_max_pool2d(py::module_& m) {
  m.def(
      "max_pool2d_forward",
      [](const py::object& input, const Pair& kernel_size, const Pair& stride, const Pads& padding,
         const Pair& dilation, bool ceil_mode, bool return_indices) {
        constexpr const char* kOp = "max_pool2d";
        const Input<T> x(input, kOp, "input");
        const auto s = max_pool2d_shape(kOp, "input", x.shape(),
                                        {kernel_size, stride, padding, dilation, ceil_mode});
        const Shape shape = output_shape(x.shape(), s);
        auto y = output<T>(shape);
        py::typing::Optional<Output<int32_t>> positions = py::none();
        int32_t* indices = nullptr;
        if (return_indices) {
          auto array = output<int32_t>(shape);
          indices = data<int32_t>(array);
          positions = std::move(array);
        }
        const auto op = choose(reference::max_pool2d_forward<T>, fast::max_pool2d_forward);
        if (x.size() > 0) without_gil([&] { op(data<T>(y), indices, x.data(), s); });
        return py::typing::Tuple<Output<T>, py::typing::Optional<Output<int32_t>>>(
            py::make_tuple(std::move(y), std::move(positions)));
      },
      py::arg("input"), py::arg("kernel_size"), py::arg("stride"), py::arg("padding"),
      py::arg("dilation"), py::arg("ceil_mode"), py::arg("return_indices"));
  m.def(
      "max_pool2d_backward",
      [](const py::object& grad, const py::object& positions, const Shape& input_shape,
         const Pair& kernel_size, const Pair& stride, const Pads& padding, const Pair& dilation,
         bool ceil_mode) {
        constexpr const char* kOp = "max_pool2d_backward";
        const auto s = max_pool2d_shape(kOp, "input_shape", input_shape,
                                        {kernel_size, stride, padding, dilation, ceil_mode});
        const Shape shape = output_shape(input_shape, s);
        const Input<T> dy(grad, kOp, "dy");
        dy.expect_shape(shape, kOutputShape);
        const auto indices = read_indices(positions, kOp, s.H * s.W,
                                          [&](int64_t index) { fail_index(kOp, index, s); });
        indices.expect_shape(shape, kOutputShape);
        auto dx = output<T>(input_shape);
        const auto op = choose(reference::max_pool2d_backward<T>, fast::max_pool2d_backward);
        bool valid = true;
        if (s.N * s.C > 0) {
          without_gil([&] { valid = op(data<T>(dx), dy.data(), indices.data(), s); });
        }
        if (!valid) {
          const int64_t least = pool2d_least_index(s);
          const int32_t* index = indices.data();
          while (*index >= least && *index < s.H * s.W) ++index;
          fail_index(kOp, *index, s);
        }
        return dx;
      },
      py::arg("dy"), py::arg("indices"), py::arg("input_shape"), py::arg("kernel_size"),
      py::arg("stride"), py::arg("padding"), py::arg("dilation"), py::arg("ceil_mode"));
}

template <class T>
void register_avg_pool2d(py::module_& m) {
  m.def(
      "avg_pool2d_forward",
      [](const py::object& input, const Pair& kernel_size, const Pair& stride, const Pads& padding,
         bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor_override) {
        constexpr const char* kOp = "avg_pool2d";
        const Input<T> x(input, kOp, "input");
        const auto s = checked_shape(kOp, "input", x.shape(),
                                     {kernel_size, stride, padding, {1, 1}, ceil_mode});
        const auto divisor = checked_divisor(kOp, count_include_pad, divisor_override);
        const auto op = choose(reference::avg_pool2d_forward<T>, fast::avg_pool2d_forward);
        return written<T>(output_shape(x.shape(), s), [&](T* to) {
          if (x.size() > 0) op(to, x.data(), s, divisor);
        });
      },
      py::arg("input"), py::arg("kernel_size"), py::arg("stride"), py::arg("padding"),
      py::arg("ceil_mode"), py::arg("count_include_pad"), py::arg("divisor_override").none(true));
  m.def(
      "avg_pool2d_backward",
      [](const py::object& grad, const Shape& input_shape, const Pair& kernel_size,
         const Pair& stride, const Pads& padding, bool ceil_mode, bool count_include_pad,
         std::optional<int64_t> divisor_override) {
        constexpr const char* kOp = "avg_pool2d_backward";
        const auto s = checked_shape(kOp, "input_shape", input_shape,
                                     {kernel_size, stride, padding, {1, 1}, ceil_mode});
        const auto divisor = checked_divisor(kOp, count_include_pad, divisor_override);
        const Input<T> dy(grad, kOp, "dy");
        dy.expect_shape(output_shape(input_shape, s), kOutputShape);
        const auto op = choose(reference::avg_pool2d_backward<T>, fast::avg_pool2d_backward);
        return written<T>(input_shape, [&](T* to) {
          if (s.N * s.C * s.H * s.W > 0) op(to, dy.data(), s, divisor);
        });
      },
      py::arg("dy"), py::arg("input_shape"), py::arg("kernel_size"), py::arg("stride"),
      py::arg("padding"), py::arg("ceil_mode"), py::arg("count_include_pad"),
      py::arg("divisor_override").none(true));
}

}  // namespace

template <class T>
void register_pool2d(py::module_& m) {
  register_max_pool2d<T>(m);
  register_avg_pool2d<T>(m);
}

STRIATE_INSTANCES(register_pool2d)

}  // namespace striate::bindings
