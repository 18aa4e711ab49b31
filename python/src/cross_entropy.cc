#include "striate/cross_entropy.h"

#include <vector>

#include "arrays.h"
#include "backend.h"
#include "ops.h"

namespace striate::bindings {
namespace {

enum class Reduction { none, mean, sum };

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

std::string index_text(int64_t i, const Shape& shape) {
  std::string s;
  for (std::size_t axis = shape.size(); axis-- > 0; i /= shape[axis]) {
    s = (axis > 0 ? ", " : "[") + std::to_string(i % shape[axis]) + s;
  }
  return s.empty() ? s : s + "]";
}

// Labels of any integer type, copied: nobody can change them once they are checked.
std::vector<int64_t> labels_of(const py::array& target, const Shape& shape, int64_t classes,
                               int64_t ignore_index, const char* op) {
  constexpr int kFlags =
      py::array::c_style | py::array::forcecast | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  const py::array_t<int64_t, kFlags> cast(target);
  const std::vector<int64_t> labels(cast.data(), cast.data() + cast.size());
  const bool wraps = target.dtype().kind() == 'u' && target.itemsize() == 8;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const int64_t t = labels[i];
    if (t >= 0 && t < classes) continue;
    if (t == ignore_index && !(wraps && t < 0)) continue;
    fail(op, "target" + index_text(static_cast<int64_t>(i), shape) + " = " +
                 (wraps ? std::to_string(static_cast<uint64_t>(t)) : std::to_string(t)) +
                 " is not a class: input has " + std::to_string(classes) +
                 " classes, counted from 0, and ignore_index is " + std::to_string(ignore_index));
  }
  return labels;
}

// The checked arguments, which live as long as the problem that points into them.
template <class T>
class Arguments {
 public:
  Arguments(const py::object& input, const py::object& target, const py::object& weight,
            int64_t ignore_index, const std::string& reduction, double label_smoothing,
            const char* op)
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

    const py::array array = as_array(target, op, "target");
    const char kind = array.dtype().kind();
    if (kind == 'i' || kind == 'u') {
      const Shape shape(array.shape(), array.shape() + array.ndim());
      if (shape != positions_) {
        fail(op, "target must have shape " + text(positions_) + " (labels for input's shape " +
                     text(x.shape()) + "), got " + text(shape));
      }
      labels_ = labels_of(array, shape, sizes.classes, ignore_index, op);
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
                           py::str(array.dtype()).cast<std::string>());
    }
    problem = {.sizes = sizes,
               .labels = probabilities_.empty() ? labels_.data() : nullptr,
               .probabilities = probabilities_.empty() ? nullptr : probabilities_[0].data(),
               .weight = weight_.data(),
               .ignore_index = ignore_index,
               .label_smoothing = label_smoothing,
               .mean = this->reduction == Reduction::mean};
  }
  Arguments(const Arguments&) = delete;

  const Shape& positions() const { return positions_; }

  const Input<T> x;
  const Reduction reduction;
  CrossEntropy<T> problem;

 private:
  Shape positions_;
  OptionalInput<T> weight_;
  std::vector<int64_t> labels_;
  std::vector<Input<T>> probabilities_;  // one or none
};

}  // namespace

template <class T>
void register_cross_entropy(py::module_& m) {
  m.def(
      "cross_entropy_forward",
      [](const py::object& input, const py::object& target, const py::object& weight,
         int64_t ignore_index, const std::string& reduction, double label_smoothing) -> py::object {
        const Arguments<T> a(input, target, weight, ignore_index, reduction, label_smoothing,
                             "cross_entropy");
        const auto op = choose(reference::cross_entropy_forward<T>, cpu::cross_entropy_forward);
        if (a.reduction == Reduction::none) {
          auto losses = output<T>(a.positions());
          {
            const py::gil_scoped_release nogil;
            op(data(losses), a.x.data(), a.problem);
          }
          return losses;
        }
        double total = 0;
        {
          const py::gil_scoped_release nogil;
          total = op(nullptr, a.x.data(), a.problem);
        }
        return py::float_(total);
      },
      py::arg("input"), py::arg("target"), py::arg("weight"), py::arg("ignore_index"),
      py::arg("reduction"), py::arg("label_smoothing"));
  m.def(
      "cross_entropy_backward",
      [](const py::object& grad, const py::object& input, const py::object& target,
         const py::object& weight, int64_t ignore_index, const std::string& reduction,
         double label_smoothing) {
        const char* const name = "cross_entropy_backward";
        const Arguments<T> a(input, target, weight, ignore_index, reduction, label_smoothing, name);
        const bool each = a.reduction == Reduction::none;
        if (!each && !py::isinstance<py::float_>(grad)) {
          throw py::type_error(std::string(name) + ": dy must be a number for reduction='" +
                               reduction + "'");
        }
        const OptionalInput<T> dy(each ? grad : py::none(), name, "dy");
        if (each) (*dy).expect_shape(a.positions(), "one value for each loss");
        const double dy_total = each ? 0 : grad.cast<double>();
        const auto op = choose(reference::cross_entropy_backward<T>, cpu::cross_entropy_backward);
        return written<T>(a.x.shape(),
                          [&](T* to) { op(to, dy.data(), dy_total, a.x.data(), a.problem); });
      },
      py::arg("dy"), py::arg("input"), py::arg("target"), py::arg("weight"),
      py::arg("ignore_index"), py::arg("reduction"), py::arg("label_smoothing"));
}

template void register_cross_entropy<float>(py::module_& m);
template void register_cross_entropy<double>(py::module_& m);

}  // namespace striate::bindings
