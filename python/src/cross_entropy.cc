#include "striate/cross_entropy.h"

#include <vector>

#include "arrays.h"
#include "backend.h"
#include "instances.h"
#include "ops.h"

namespace striate::bindings {

enum class Reduction { none, mean, sum };

namespace {

Reduction reduction_of(const std::string& name, const char* op) {
  if (name == "mean") return Reduction::mean;
  if (name == "sum") return Reduction::sum;
  if (name == "none") return Reduction::none;
  fail(op, "reduction must be 'mean', 'sum' or 'none', got '" + name + "'");
}

// (C), (N, C) or (N, C, d1, ...) as (outer, classes, inner).
SoftmaxSizes sizes_of(const Shape& shape, const char* op) {
  if (shape.empty()) {
    fail(op, "input must have shape (C), (N, C) or (N, C, d1, ...), got ()");
  }
  const std::size_t axis = shape.size() == 1 ? 0 : 1;
  if (shape[axis] == 0) fail(op, "input has no classes, its shape is " + text(shape));
  SoftmaxSizes s{.outer = axis == 0 ? 1 : shape[0], .classes = shape[axis], .inner = 1};
  for (std::size_t i = axis + 1; i < shape.size(); ++i) {
    s.inner = checked_product({s.inner, shape[i]}, "positions");
  }
  return s;
}

// The shape without its classes.
Shape positions_of(Shape shape) {
  shape.erase(shape.begin() + (shape.size() == 1 ? 0 : 1));
  return shape;
}

}  // namespace

// The checked arguments, which live as long as the problem that points into them.
template <class T>
class CrossEntropyArguments {
 public:
  CrossEntropyArguments(const py::object& input, const py::object& target, const py::object& weight,
                        int64_t ignore_index, const std::string& reduction, double label_smoothing,
                        const char* op, bool backward)
      : x(input, op, "input"),
        reduction(reduction_of(reduction, op)),
        positions_(),
        weight_(weight, op, "weight") {
    const SoftmaxSizes sizes = sizes_of(x.shape(), op);
    positions_ = positions_of(x.shape());
    if (!(label_smoothing >= 0 && label_smoothing <= 1)) {
      fail(op, "label_smoothing must be between 0 and 1, got " +
                   std::string(py::str(py::float_(label_smoothing))));
    }
    if (weight_) (*weight_).expect_shape({sizes.classes}, "one weight for each class");

    const Array array = as_array(target, op, "target");
    const char kind = kind_of(array);
    if (kind == 'i' || kind == 'u') {
      const Shape shape = shape_of(array);
      if (shape != positions_) {
        fail(op, "target must have shape " + text(positions_) + " (labels for input's shape " +
                     text(x.shape()) + "), got " + text(shape));
      }
      labels_ = Labels(array, sizes.classes, ignore_index, op, backward);
    } else if (kind == 'f') {
      probabilities_.emplace_back(array, op, "target");
      probabilities_[0].expect_shape(x.shape(), "that of input, for class probabilities");
      if (ignore_index >= 0) {
        fail(op, "ignore_index=" + std::to_string(ignore_index) +
                     " needs labels, but target holds class probabilities");
      }
    } else {
      throw py::type_error(std::string(op) +
                           ": target must hold integer labels or float32 probabilities, got " +
                           dtype_of(array));
    }
    problem = {.sizes = sizes,
               .labels = probabilities_.empty() ? labels_.data() : nullptr,
               .probabilities = probabilities_.empty() ? nullptr : probabilities_[0].data(),
               .weight = weight_.data(),
               .ignore_index = ignore_index,
               .label_smoothing = label_smoothing,
               .mean = this->reduction == Reduction::mean};
  }
  CrossEntropyArguments(const CrossEntropyArguments&) = delete;

  const Shape& positions() const { return positions_; }

  const Input<T> x;
  const Reduction reduction;
  CrossEntropy<T> problem;

 private:
  Shape positions_;
  OptionalInput<T> weight_;
  Labels labels_;
  std::vector<Input<T>> probabilities_;  // one or none
};

template <class T>
void register_cross_entropy(py::module_& m) {
  m.def(
      "cross_entropy_forward",
      [](const py::object& input, const py::object& target, const py::object& weight,
         int64_t ignore_index, const std::string& reduction, double label_smoothing) -> py::object {
        const CrossEntropyArguments<T> a(input, target, weight, ignore_index, reduction,
                                         label_smoothing, "cross_entropy", false);
        if (a.reduction != Reduction::none) return cross_entropy_total(a.x.data(), a.problem);
        return written<T>(a.positions(),
                          [&](T* to) { cross_entropy_losses(to, a.x.data(), a.problem); });
      },
      py::arg("input"), py::arg("target"), py::arg("weight"), py::arg("ignore_index"),
      py::arg("reduction"), py::arg("label_smoothing"));
  m.def(
      "cross_entropy_backward",
      [](const py::object& grad, const py::object& input, const py::object& target,
         const py::object& weight, int64_t ignore_index, const std::string& reduction,
         double label_smoothing) {
        const char* const name = "cross_entropy_backward";
        const CrossEntropyArguments<T> a(input, target, weight, ignore_index, reduction,
                                         label_smoothing, name, true);
        const bool each = a.reduction == Reduction::none;
        if (!each && !py::isinstance<py::float_>(grad)) {
          throw py::type_error(std::string(name) + ": dy must be a number for reduction='" +
                               reduction + "'");
        }
        const OptionalInput<T> dy(each ? grad : py::none(), name, "dy");
        if (each) (*dy).expect_shape(a.positions(), "one value for each loss");
        const double dy_total = each ? 0 : grad.cast<double>();
        const auto op = choose(reference::cross_entropy_backward<T>, fast::cross_entropy_backward);
        return written<T>(a.x.shape(),
                          [&](T* to) { op(to, dy.data(), dy_total, a.x.data(), a.problem); });
      },
      py::arg("dy"), py::arg("input"), py::arg("target"), py::arg("weight"),
      py::arg("ignore_index"), py::arg("reduction"), py::arg("label_smoothing"));
}

STRIATE_INSTANCES(register_cross_entropy)

}  // namespace striate::bindings
