#include "striate/dropout.h"

#include <array>

#include "arrays.h"
#include "backend.h"
#include "instances.h"
#include "ops.h"

namespace striate::bindings {
namespace {

uint32_t word(int64_t value, const char* op, const char* name) {
  if (value < 0 || value > int64_t{UINT32_MAX}) {
    fail(op, std::string(name) + " must be between 0 and 2^32 - 1, got " + std::to_string(value));
  }
  return static_cast<uint32_t>(value);
}

// dx is the same function of dy as y of x; the names are for messages.
template <class T>
void register_function(py::module_& m, const char* function, const char* op, const char* name) {
  m.def(
      function,
      [=](const py::object& input, double p, uint64_t seed, int64_t call, int64_t step,
          int64_t offset) {
        const Input<T> x(input, op, name);
        if (!(p >= 0 && p <= 1)) {
          fail(op, "p must be between 0 and 1, got " + std::string(py::str(py::float_(p))));
        }
        const DropoutKey key{
            .seed = seed, .call = word(call, op, "call"), .step = word(step, op, "step")};
        constexpr int64_t kMost = int64_t{1} << 34;
        if (offset < 0 || offset > kMost || x.size() > kMost - offset) {
          fail(op, "offset=" + std::to_string(offset) + " and " + std::to_string(x.size()) +
                       " elements go beyond the 2^34 that a batch may have");
        }
        const auto run = choose(reference::dropout<T>, fast::dropout);
        return written<T>(x.shape(), [&](T* to) { run(to, x.data(), x.size(), p, key, offset); });
      },
      py::arg(name), py::arg("p"), py::arg("seed"), py::arg("call"), py::arg("step"),
      py::arg("offset") = 0);
}

}  // namespace

template <class T>
void register_dropout(py::module_& m) {
  register_function<T>(m, "dropout_forward", "dropout", "input");
  register_function<T>(m, "dropout_backward", "dropout_backward", "dy");
}

STRIATE_INSTANCES(register_dropout)

}  // namespace striate::bindings
