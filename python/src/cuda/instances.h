// For which types an op is bound.
#pragma once

#define STRIATE_INSTANCES(register_op) template void register_op<float>(py::module_&);
