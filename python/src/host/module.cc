// striate._core: a list of registrations.
#include <pybind11/pybind11.h>

#include "backend.h"
#include "cpu/out_of_memory.h"
#include "ops.h"

namespace {

template <class T>
void register_ops(pybind11::module_& m) {
  using namespace striate::bindings;
  register_activation<T>(m);
  register_adaptive_avg_pool2d<T>(m);
  register_conv2d<T>(m);
  register_cross_entropy<T>(m);
  register_dropout<T>(m);
  register_gemm<T>(m);
  register_linear<T>(m);
  register_local_response_norm<T>(m);
  register_pool2d<T>(m);
  register_sgd<T>(m);
  register_softmax<T>(m);
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "The compiled ops of Striate. Private: use striate.functional.";
  m.attr("__version__") = STRIATE_VERSION;
  striate::cpu::make_room_to_throw();
  striate::bindings::register_backend(m);
  striate::bindings::register_conv2d_algorithm(m);
  register_ops<float>(m);
  striate::bindings::register_plan(m);
  auto float64 =
      m.def_submodule("float64", "The reference in double precision, for gradient tests.");
  register_ops<double>(float64);
}
