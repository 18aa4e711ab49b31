// softmax and log_softmax (kLog) of many rows of classes.
//
// "columns": lanes are rows. Class c of row j stands at [c * stride + j], so rows lie side by side,
// as for a softmax over channels. "rows": each row is contiguous; few classes are turned into
// columns, kLanes rows at a time, and many fill the lanes by themselves.
// A row's bits depend on its values and its length only, not on its place among the rows.
#pragma once

#include "cpu/kernels/math.h"
#include "cpu/kernels/simd.h"

namespace striate::cpu::STRIATE_ISA {

constexpr int64_t kFewClasses = 32;

static inline Vec load_lanes(const float* p, int64_t n) {
  return n == kLanes ? load(p) : load_first(p, n);
}
static inline void store_lanes(float* p, Vec v, int64_t n) {
  n == kLanes ? store(p, v) : store_first(p, v, n);
}

template <bool kLog>
static void softmax_columns(float* y, int64_t y_stride, const float* x, int64_t x_stride,
                            int64_t classes, int64_t rows) {
  for (int64_t j = 0; j < rows; j += kLanes) {
    const int64_t n = rows - j < kLanes ? rows - j : kLanes;
    Vec max = broadcast(-__builtin_inff()), sum = {};
    for (int64_t c = 0; c < classes; ++c) max = larger(load_lanes(x + c * x_stride + j, n), max);
    for (int64_t c = 0; c < classes; ++c) {
      const Vec e = exp(load_lanes(x + c * x_stride + j, n) - max);
      if (!kLog) store_lanes(y + c * y_stride + j, e, n);
      sum += e;
    }
    const Vec scale = 1.0f / sum, shift = kLog ? log(sum) : Vec{};
    for (int64_t c = 0; c < classes; ++c) {
      float* to = y + c * y_stride + j;
      const Vec v =
          kLog ? load_lanes(x + c * x_stride + j, n) - max - shift : load_lanes(to, n) * scale;
      store_lanes(to, v, n);
    }
  }
}

template <bool kLog>
static void softmax_columns_backward(float* dx, const float* dy, const float* y, int64_t stride,
                                     int64_t classes, int64_t rows) {
  for (int64_t j = 0; j < rows; j += kLanes) {
    const int64_t n = rows - j < kLanes ? rows - j : kLanes;
    Vec sum = {};
    for (int64_t c = 0; c < classes; ++c) {
      const Vec d = load_lanes(dy + c * stride + j, n);
      sum += kLog ? d : d * load_lanes(y + c * stride + j, n);
    }
    for (int64_t c = 0; c < classes; ++c) {
      const Vec d = load_lanes(dy + c * stride + j, n), v = load_lanes(y + c * stride + j, n);
      store_lanes(dx + c * stride + j, kLog ? d - exp(v) * sum : v * (d - sum), n);
    }
  }
}

/// kLanes rows of at most kFewClasses, as columns; rows that are not there are zeros.
struct Transposed {
  float values[kFewClasses * kLanes];
};

// Functions of their own, because a member function is seen by the linker.
static void read(Transposed& t, const float* rows, int64_t n, int64_t classes) {
  for (int64_t r = 0; r < kLanes; ++r) {
    for (int64_t c = 0; c < classes; ++c) {
      t.values[c * kLanes + r] = r < n ? rows[r * classes + c] : 0.0f;
    }
  }
}
static void write(const Transposed& t, float* rows, int64_t n, int64_t classes) {
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t c = 0; c < classes; ++c) rows[r * classes + c] = t.values[c * kLanes + r];
  }
}

/// The classes of one row, kLanes at a time; `fill` stands behind the last.
template <class F>
static inline void each_vector(int64_t classes, float fill, const float* x, const F& f) {
  int64_t c = 0;
  for (; c + kLanes <= classes; c += kLanes) f(c, kLanes, load(x + c));
  if (c < classes) {
    Vec v = broadcast(fill);
    for (int64_t i = 0; i < classes - c; ++i) v[i] = x[c + i];
    f(c, classes - c, v);
  }
}

static inline float largest(Vec v) {
  float max = v[0];
  for (int i = 1; i < kLanes; ++i) max = v[i] > max ? v[i] : max;
  return max;
}

template <bool kLog>
static void softmax_rows(float* y, const float* x, int64_t rows, int64_t classes) {
  if (classes <= kFewClasses) {
    Transposed t;
    for (int64_t r = 0; r < rows; r += kLanes) {
      read(t, x + r * classes, rows - r, classes);
      softmax_columns<kLog>(t.values, kLanes, t.values, kLanes, classes, kLanes);
      write(t, y + r * classes, rows - r < kLanes ? rows - r : kLanes, classes);
    }
    return;
  }
  const float none = -__builtin_inff();  // whose exp is 0
  for (int64_t r = 0; r < rows; ++r, x += classes, y += classes) {
    Vec maxima = broadcast(none), sums = {};
    each_vector(classes, none, x, [&](int64_t, int64_t, Vec v) { maxima = larger(v, maxima); });
    const Vec max = broadcast(largest(maxima));
    each_vector(classes, none, x, [&](int64_t c, int64_t n, Vec v) {
      const Vec e = exp(v - max);
      if (!kLog) store_lanes(y + c, e, n);
      sums += e;
    });
    const Vec total = broadcast(sum_lanes(sums));
    const Vec scale = 1.0f / total, shift = kLog ? log(total) : Vec{};
    each_vector(classes, none, kLog ? x : y, [&](int64_t c, int64_t n, Vec v) {
      store_lanes(y + c, kLog ? v - max - shift : v * scale, n);
    });
  }
}

template <bool kLog>
static void softmax_rows_backward(float* dx, const float* dy, const float* y, int64_t rows,
                                  int64_t classes) {
  if (classes <= kFewClasses) {
    Transposed d, v;
    for (int64_t r = 0; r < rows; r += kLanes) {
      read(d, dy + r * classes, rows - r, classes);
      read(v, y + r * classes, rows - r, classes);
      softmax_columns_backward<kLog>(d.values, d.values, v.values, kLanes, classes, kLanes);
      write(d, dx + r * classes, rows - r < kLanes ? rows - r : kLanes, classes);
    }
    return;
  }
  for (int64_t r = 0; r < rows; ++r, dx += classes, dy += classes, y += classes) {
    Vec sums = {};
    each_vector(classes, 0.0f, dy,
                [&](int64_t c, int64_t n, Vec d) { sums += kLog ? d : d * load_lanes(y + c, n); });
    const Vec total = broadcast(sum_lanes(sums));
    each_vector(classes, 0.0f, dy, [&](int64_t c, int64_t n, Vec d) {
      const Vec v = load_lanes(y + c, n);
      store_lanes(dx + c, kLog ? d - exp(v) * total : v * (d - total), n);
    });
  }
}

}  // namespace striate::cpu::STRIATE_ISA
