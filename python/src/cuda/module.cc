// striate._cuda: the ops of striate._core over CuPy arrays; a list of registrations.
#include <pybind11/pybind11.h>

#include "ops.h"
#include "ops_cuda.h"

PYBIND11_MODULE(_cuda, m) {
  using namespace striate::bindings;
  m.doc() = "The CUDA ops of Striate. Private: use striate.functional.";
  m.attr("__version__") = STRIATE_VERSION;
  register_device(m);
  register_activation<float>(m);
  register_adaptive_avg_pool2d<float>(m);
  register_conv2d<float>(m);
  register_cross_entropy<float>(m);
  register_dropout<float>(m);
  register_gemm<float>(m);
  register_linear<float>(m);
  register_local_response_norm<float>(m);
  register_pool2d<float>(m);
  register_recorded(m);
  register_sgd<float>(m);
  register_softmax<float>(m);
}
