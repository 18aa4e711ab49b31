#include "striate/softmax.h"

#include "cpu/isa.h"
#include "cpu/row_blocks.h"

namespace striate::cpu {

void softmax_forward(float* y, const float* x, const SoftmaxSizes& s) {
  const Trace trace = traced("softmax_forward", s, 2);
  const Kernels& k = kernels();
  for_each_row_block(s, [&](const RowBlock& b) {
    if (s.inner == 1) {
      k.softmax_rows(y + b.start, x + b.start, b.rows, s.classes);
    } else {
      k.softmax_columns(y + b.start, s.inner, x + b.start, s.inner, s.classes, b.rows);
    }
  });
}

void softmax_backward(float* dx, const float* dy, const float* y, const SoftmaxSizes& s) {
  const Trace trace = traced("softmax_backward", s, 3);
  const Kernels& k = kernels();
  for_each_row_block(s, [&](const RowBlock& b) {
    float* const to = dx + b.start;
    if (s.inner == 1) {
      k.softmax_rows_backward(to, dy + b.start, y + b.start, b.rows, s.classes);
    } else {
      k.softmax_columns_backward(to, dy + b.start, y + b.start, s.inner, s.classes, b.rows);
    }
  });
}

void log_softmax_forward(float* y, const float* x, const SoftmaxSizes& s) {
  const Trace trace = traced("log_softmax_forward", s, 2);
  const Kernels& k = kernels();
  for_each_row_block(s, [&](const RowBlock& b) {
    if (s.inner == 1) {
      k.log_softmax_rows(y + b.start, x + b.start, b.rows, s.classes);
    } else {
      k.log_softmax_columns(y + b.start, s.inner, x + b.start, s.inner, s.classes, b.rows);
    }
  });
}

void log_softmax_backward(float* dx, const float* dy, const float* y, const SoftmaxSizes& s) {
  const Trace trace = traced("log_softmax_backward", s, 3);
  const Kernels& k = kernels();
  for_each_row_block(s, [&](const RowBlock& b) {
    float* const to = dx + b.start;
    if (s.inner == 1) {
      k.log_softmax_rows_backward(to, dy + b.start, y + b.start, b.rows, s.classes);
    } else {
      k.log_softmax_columns_backward(to, dy + b.start, y + b.start, s.inner, s.classes, b.rows);
    }
  });
}

}  // namespace striate::cpu
