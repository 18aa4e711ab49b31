#include "striate/sgd.h"

#include <pybind11/stl.h>

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
        names.reserve(3 * count);
        const auto named = [&](const char* name, std::size_t i) {
          return names.emplace_back(std::string(name) + "[" + std::to_string(i) + "]").c_str();
        };
        for (std::size_t i = 0; i < count; ++i) {
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
