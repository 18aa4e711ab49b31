#include "striate/sgd.h"

#include <pybind11/stl.h>

#include "arrays.h"
#include "backend.h"
#include "instances.h"
#include "ops.h"
#include "sgd_tensors.h"

namespace striate::bindings {

template <class T>
void register_sgd(py::module_& m) {
  m.def(
      "sgd_step",
      [](const py::sequence& params, const py::sequence& grads,
         const std::optional<py::sequence>& buffers, const std::vector<bool>& first, double lr,
         double momentum, double dampening, double weight_decay, bool nesterov, bool maximize) {
        const SgdTensors<T> tensors(params, grads, buffers, first);
        const SgdOptions options{.lr = lr,
                                 .momentum = momentum,
                                 .dampening = dampening,
                                 .weight_decay = weight_decay,
                                 .nesterov = nesterov,
                                 .maximize = maximize};
        const auto op = choose(reference::sgd_step<T>, fast::sgd_step);
        without_gil([&] { op(tensors.data(), tensors.count(), options); });
      },
      py::arg("params"), py::arg("grads"), py::arg("buffers"), py::arg("first"), py::arg("lr"),
      py::arg("momentum") = 0.0, py::arg("dampening") = 0.0, py::arg("weight_decay") = 0.0,
      py::arg("nesterov") = false, py::arg("maximize") = false);
}

STRIATE_INSTANCES(register_sgd)

}  // namespace striate::bindings
