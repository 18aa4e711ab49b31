// The micro-kernels of one instruction set: this file is compiled once for each, with its flags and
// STRIATE_ISA as its namespace. Every kernel is static in here; only the table is seen outside.
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/relu.h"
#include "cpu/kernels/simd.h"

namespace striate::cpu::STRIATE_ISA {

extern const Kernels kernels = {
    .lanes = kLanes,
    .relu_forward = relu_forward,
    .relu_backward = relu_backward,
};

}  // namespace striate::cpu::STRIATE_ISA
