// For which types an op is bound: float, and double for the gradient tests.
#pragma once

#define STRIATE_INSTANCES(register_op)            \
  template void register_op<float>(py::module_&); \
  template void register_op<double>(py::module_&);
