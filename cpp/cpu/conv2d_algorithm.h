// The algorithms of conv2d and how one is chosen.
//
//   gemm      patches laid out as a matrix, times the weights: every shape    conv2d_gemm*.cc
//   winograd  fewer multiplications: kernels of 3 and 5, stride 1             conv2d_winograd*.cc
//   direct    straight from the image: few channels, depthwise                conv2d_direct*.cc
#pragma once

#include <cstdint>
#include <string>

#include "cpu/trace.h"
#include "striate/conv2d.h"

namespace striate::cpu {

enum class Conv2dAlgorithm { gemm, winograd, direct };
enum class Conv2dPass { forward, backward_data, backward_weight };

/// "gemm": the word that STRIATE_CONV takes and STRIATE_VERBOSE prints.
const char* name_of(Conv2dAlgorithm algorithm);

/// The algorithm for one pass of a convolution, chosen by the shape (without N: prepared weights
/// serve every batch) and the instruction set. STRIATE_CONV=direct forces one wherever it can run;
/// any other word throws std::invalid_argument.
Conv2dAlgorithm conv2d_algorithm(Conv2dPass pass, const Conv2dShape& s);

/// Forces an algorithm for the whole process, as STRIATE_CONV does; "auto" ends that. For tests.
/// Throws std::invalid_argument for a name that there is not.
void set_conv2d_algorithm(const std::string& name);

/// What STRIATE_VERBOSE says of one pass.
Trace trace_conv2d(const char* op, const Conv2dShape& s, Conv2dAlgorithm algorithm);

/// What becomes of a sum before it is written.
struct Conv2dFinish {
  const float* bias = nullptr;
  bool relu = false;
};

/// The forward pass of one algorithm. Weights are laid out or transformed once, without knowing N,
/// and then serve any batch. There is at least one output element.
struct Conv2dForward {
  int64_t (*weights_size)(const Conv2dShape& s);  // floats
  void (*prepare_weights)(float* prepared, const float* w, const Conv2dShape& s);
  void (*run)(float* y, const float* x, const float* prepared, const Conv2dFinish& finish,
              const Conv2dShape& s);
};

/// That of one algorithm; for Conv2dPass::backward_data the one to which the gradient of the data is
/// given as a convolution, which may be more accurate.
const Conv2dForward& conv2d_forward_of(Conv2dAlgorithm algorithm, Conv2dPass pass);

int64_t gemm_weights_size(const Conv2dShape& s);
void gemm_prepare_weights(float* packed, const float* w, const Conv2dShape& s);
void gemm_conv2d_forward(float* y, const float* x, const float* packed, const Conv2dFinish& finish,
                         const Conv2dShape& s);
void gemm_conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s);
void gemm_conv2d_backward_weight(float* dw, const float* dy, const float* x, const Conv2dShape& s);

template <Conv2dPass kPass>
int64_t winograd_weights_size(const Conv2dShape& s);
template <Conv2dPass kPass>
void winograd_prepare_weights(float* prepared, const float* w, const Conv2dShape& s);
template <Conv2dPass kPass>
void winograd_conv2d_forward(float* y, const float* x, const float* prepared,
                             const Conv2dFinish& finish, const Conv2dShape& s);
void winograd_conv2d_backward_weight(float* dw, const float* dy, const float* x,
                                     const Conv2dShape& s);
bool direct_can_run(Conv2dPass pass, const Conv2dShape& s);
bool direct_is_best(Conv2dPass pass, const Conv2dShape& s);
int64_t direct_weights_size(const Conv2dShape& s);
void direct_prepare_weights(float* packed, const float* w, const Conv2dShape& s);
void direct_conv2d_forward(float* y, const float* x, const float* packed,
                           const Conv2dFinish& finish, const Conv2dShape& s);
bool direct_spreads_data(const Conv2dShape& s);  // pays more than the turned forward pass
void direct_conv2d_backward_data(float* dx, const float* dy, const float* w, const Conv2dShape& s);
void direct_conv2d_backward_weight(float* dw, const float* dy, const float* x,
                                   const Conv2dShape& s);

}  // namespace striate::cpu
