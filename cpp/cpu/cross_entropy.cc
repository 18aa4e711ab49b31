#include "striate/cross_entropy.h"

#include <vector>

#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/row_blocks.h"

namespace striate::cpu {
namespace {

using Problem = CrossEntropy<float>;

// What the positions of a block ask for.
struct Targets {
  const Problem& p;
  const RowBlock& b;
  // Between the classes of a row, and between the rows, of logits and probabilities.
  const int64_t class_stride = p.sizes.inner;
  const int64_t row_stride = p.sizes.inner == 1 ? p.sizes.classes : 1;
  const float keep = static_cast<float>(1 - p.label_smoothing);
  const float spread = static_cast<float>(p.label_smoothing / p.sizes.classes);

  int64_t label(int64_t r) const { return p.labels[b.row + r]; }
  bool ignored(int64_t r) const { return p.labels != nullptr && label(r) == p.ignore_index; }
  float weight(int64_t c) const { return p.weight != nullptr ? p.weight[c] : 1.0f; }
  int64_t place(int64_t r, int64_t c) const { return b.start + r * row_stride + c * class_stride; }

  // r_c of the contract, such that l = -sum_c r_c log p_c.
  float share(int64_t r, int64_t c) const {
    const float q =
        p.labels != nullptr ? static_cast<float>(label(r) == c) : p.probabilities[place(r, c)];
    return (keep * q + spread) * weight(c);
  }
};

// What the mean divides by.
double count(const Problem& p) {
  const int64_t rows = p.sizes.outer * p.sizes.inner;
  if (p.labels == nullptr) return static_cast<double>(rows);
  double sum = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t t = p.labels[i];
    if (t != p.ignore_index) sum += p.weight != nullptr ? p.weight[t] : 1.0f;
  }
  return sum;
}

bool has_one_class(const Problem& p) { return p.labels != nullptr && p.label_smoothing == 0; }

// Calls f(row, class, place) for the whole block, in the order of memory.
template <class F>
void for_each_element(const Targets& t, const F& f) {
  const int64_t classes = t.p.sizes.classes;
  if (t.class_stride == 1) {
    for (int64_t r = 0; r < t.b.rows; ++r) {
      for (int64_t c = 0; c < classes; ++c) f(r, c, t.b.start + r * classes + c);
    }
  } else {
    for (int64_t c = 0; c < classes; ++c) {
      for (int64_t r = 0; r < t.b.rows; ++r) f(r, c, t.b.start + c * t.class_stride + r);
    }
  }
}

// Both turn a block's softmax into the gradient, in place; g is the gradient of each row's loss.

void one_class_gradient(float* d, const float* g, const Targets& t) {
  float scale[kBlockRows];
  for (int64_t r = 0; r < t.b.rows; ++r) {
    scale[r] = t.ignored(r) ? 0.0f : g[r] * t.weight(t.label(r));
  }
  for_each_element(t, [&](int64_t r, int64_t, int64_t i) { d[i] *= scale[r]; });
  for (int64_t r = 0; r < t.b.rows; ++r) {
    if (!t.ignored(r)) {
      d[t.place(r, t.label(r))] -= scale[r];
    } else {  // a NaN in its logits stayed one
      for (int64_t c = 0; c < t.p.sizes.classes; ++c) d[t.place(r, c)] = 0;
    }
  }
}

void gradient(float* d, const float* g, const Targets& t) {
  float shares[kBlockRows];  // sum_c r_c
  for (int64_t r = 0; r < t.b.rows; ++r) {
    double sum = 0;
    for (int64_t c = 0; c < t.p.sizes.classes; ++c) sum += t.share(r, c);
    shares[r] = static_cast<float>(sum);
  }
  for_each_element(t, [&](int64_t r, int64_t c, int64_t i) {
    d[i] = t.ignored(r) ? 0.0f : g[r] * (shares[r] * d[i] - t.share(r, c));
  });
}

}  // namespace

double cross_entropy_forward(float* losses, const float* x, const Problem& p) {
  const Trace trace = traced("cross_entropy_forward", p.sizes, 1);
  const Kernels& k = kernels();
  const SoftmaxSizes& s = p.sizes;
  const bool one_class = has_one_class(p);
  std::vector<double> sums(row_blocks(s));  // of a block each, added in order: no thread matters

  for_each_row_block(s, [&](const RowBlock& b) {
    const Targets targets{p, b};
    const Scratch scratch(b.rows * s.classes);
    float* const log_p = scratch.get();
    const int64_t row_stride = s.inner == 1 ? s.classes : 1;
    const int64_t class_stride = s.inner == 1 ? 1 : b.rows;
    if (s.inner == 1) {
      k.log_softmax_rows(log_p, x + b.start, b.rows, s.classes);
    } else {
      k.log_softmax_columns(log_p, class_stride, x + b.start, s.inner, s.classes, b.rows);
    }
    for (int64_t r = 0; r < b.rows; ++r) {
      const float* const row = log_p + r * row_stride;
      double loss = 0;
      if (one_class && !targets.ignored(r)) {  // -inf elsewhere in the row does not matter
        const int64_t t = targets.label(r);
        loss = -double{targets.weight(t)} * row[t * class_stride];
      } else if (!targets.ignored(r)) {
        for (int64_t c = 0; c < s.classes; ++c) {
          loss -= double{targets.share(r, c)} * row[c * class_stride];
        }
      }
      if (losses != nullptr) losses[b.row + r] = static_cast<float>(loss);
      sums[b.index] += loss;
    }
  });

  double total = 0;
  for (const double sum : sums) total += sum;
  return p.mean ? total / count(p) : total;
}

void cross_entropy_backward(float* dx, const float* dy, double dy_total, const float* x,
                            const Problem& p) {
  const Trace trace = traced("cross_entropy_backward", p.sizes, 2);
  const Kernels& k = kernels();
  const SoftmaxSizes& s = p.sizes;
  const bool one_class = has_one_class(p);
  const double g_total = p.mean && dy == nullptr ? dy_total / count(p) : dy_total;

  for_each_row_block(s, [&](const RowBlock& b) {
    const Targets targets{p, b};
    if (s.inner == 1) {
      k.softmax_rows(dx + b.start, x + b.start, b.rows, s.classes);
    } else {
      k.softmax_columns(dx + b.start, s.inner, x + b.start, s.inner, s.classes, b.rows);
    }

    float g[kBlockRows];
    for (int64_t r = 0; r < b.rows; ++r) {
      g[r] = dy != nullptr ? dy[b.row + r] : static_cast<float>(g_total);
    }
    one_class ? one_class_gradient(dx, g, targets) : gradient(dx, g, targets);
  });
}

}  // namespace striate::cpu
