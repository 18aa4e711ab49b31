// The micro-kernels of one instruction set, as a table. One line per kernel declares it here and
// one line per kernel fills it in table.cc; selection (isa.h), ops and tests use nothing else.
#pragma once

#include <cstdint>

namespace striate::cpu {

struct Kernels {
  int lanes;  // floats in a vector

  // relu.h
  void (*relu_forward)(float* y, const float* x, int64_t n);
  void (*relu_backward)(float* dx, const float* dy, const float* y, int64_t n);
};

// Each is defined by table.cc, compiled with that instruction set's flags.
namespace baseline {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}

}  // namespace striate::cpu
