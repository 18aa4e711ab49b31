// The arguments of a linear layer, checked.
#pragma once

#include <string>

#include "arrays.h"
#include "striate/linear.h"

namespace striate::bindings {

template <class T>
LinearShape checked_linear_shape(const char* op, const Input<T>& x, const Input<T>& w) {
  x.expect_ndim(2, "(N, in_features)");
  w.expect_ndim(2, "(out_features, in_features)");
  if (x[1] != w[1]) {
    fail(op, "weight takes " + std::to_string(w[1]) + " features, but input has " +
                 std::to_string(x[1]) + "; input " + text(x.shape()) + ", weight " +
                 text(w.shape()));
  }
  return {.N = x[0], .C = x[1], .K = w[0]};
}

}  // namespace striate::bindings
