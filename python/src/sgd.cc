#include "striate/sgd.h"

#include <pybind11/stl.h>

#include <algorithm>

#include "arrays.h"
#include "backend.h"
#include "ops.h"

namespace striate::bindings {
namespace {

void expect_length(const char* name, std::size_t length, std::size_t params) {
  if (length != params) {
    fail("sgd_step", "there are " + std::to_string(params) + " params but " +
                         std::to_string(length) + " " + name);
  }
}

void expect_shape(const std::string& name, const Shape& shape, const Shape& param) {
  if (shape != param) {
    fail("sgd_step",
         name + " must have shape " + text(param) + " (that of its parameter), got " + text(shape));
  }
}

bool same_shape(const py::array& a, const py::array& b) {
  return a.ndim() == b.ndim() && std::equal(a.shape(), a.shape() + a.ndim(), b.shape());
}

// The tensors, if all arrays are as they should be; false, if one needs a closer look. `kept` holds
// the arrays while they are used.
template <class T>
bool plain_tensors(std::vector<SgdTensor<T>>& tensors, std::vector<py::object>& kept,
                   const py::sequence& params, const py::sequence& grads,
                   const std::optional<py::sequence>& buffers, const std::vector<bool>& first) {
  for (std::size_t i = 0; i < params.size(); ++i) {
    const py::object w = params[i], dw = grads[i], v = buffers ? (*buffers)[i] : w;
    if (!is_plain<T>(w) || !is_plain<T>(dw) || !is_plain<T>(v)) return false;
    auto weights = py::reinterpret_borrow<py::array>(w);
    auto velocity = py::reinterpret_borrow<py::array>(v);
    const auto gradient = py::reinterpret_borrow<py::array>(dw);
    if (!same_shape(weights, gradient) || !same_shape(weights, velocity)) return false;
    tensors.push_back({.w = static_cast<T*>(weights.mutable_data()),
                       .dw = static_cast<const T*>(gradient.data()),
                       .v = buffers ? static_cast<T*>(velocity.mutable_data()) : nullptr,
                       .n = weights.size(),
                       .first = buffers && first[i]});
    kept.insert(kept.end(), {w, dw, v});
  }
  return true;
}

}  // namespace

template <class T>
void register_sgd(py::module_& m) {
  m.def(
      "sgd_step",
      [](const py::sequence& params, const py::sequence& grads,
         const std::optional<py::sequence>& buffers, const std::vector<bool>& first, double lr,
         double momentum, double dampening, double weight_decay, bool nesterov, bool maximize) {
        const std::size_t count = params.size();
        expect_length("grads", grads.size(), count);
        if (buffers) {
          expect_length("buffers", buffers->size(), count);
          expect_length("values of first", first.size(), count);
        }

        std::vector<InPlace<T>> w, v;
        std::vector<Input<T>> dw;
        std::vector<SgdTensor<T>> tensors;
        std::vector<std::string> names;  // an Input keeps a pointer to its name
        w.reserve(count), v.reserve(count), dw.reserve(count), tensors.reserve(count);
        names.reserve(3 * count);  // the pointers stay
        const auto named = [&](const char* name, std::size_t i) {
          return names.emplace_back(std::string(name) + "[" + std::to_string(i) + "]").c_str();
        };
        std::vector<py::object> kept;
        const bool plain = plain_tensors(tensors, kept, params, grads, buffers, first);
        if (!plain) tensors.clear();
        for (std::size_t i = 0; !plain && i < count; ++i) {
          w.emplace_back(params[i], "sgd_step", named("params", i));
          const Shape shape = w[i].shape();
          dw.emplace_back(grads[i], "sgd_step", named("grads", i));
          dw[i].expect_shape(shape, "that of its parameter");
          if (buffers) {
            v.emplace_back((*buffers)[i], "sgd_step", named("buffers", i));
            expect_shape(names.back(), v[i].shape(), shape);
          }
          tensors.push_back({.w = w[i].data(),
                             .dw = dw[i].data(),
                             .v = buffers ? v[i].data() : nullptr,
                             .n = w[i].size(),
                             .first = buffers && first[i]});
        }

        const SgdOptions options{.lr = lr,
                                 .momentum = momentum,
                                 .dampening = dampening,
                                 .weight_decay = weight_decay,
                                 .nesterov = nesterov,
                                 .maximize = maximize};
        const auto op = choose(reference::sgd_step<T>, cpu::sgd_step);
        const py::gil_scoped_release nogil;
        op(tensors.data(), static_cast<int64_t>(count), options);
      },
      py::arg("params"), py::arg("grads"), py::arg("buffers"), py::arg("first"), py::arg("lr"),
      py::arg("momentum") = 0.0, py::arg("dampening") = 0.0, py::arg("weight_decay") = 0.0,
      py::arg("nesterov") = false, py::arg("maximize") = false);
}

template void register_sgd<float>(py::module_& m);
template void register_sgd<double>(py::module_& m);

}  // namespace striate::bindings
