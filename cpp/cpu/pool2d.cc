#include "striate/pool2d.h"

#include <algorithm>
#include <atomic>

#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/parallel.h"
#include "cpu/trace.h"

namespace striate::cpu {
namespace {

// So many of the `count` items, each of `floats` floats, that a chunk is about 64 KiB.
int64_t chunk(int64_t floats) { return std::max<int64_t>(1, (int64_t{16} << 10) / floats); }

// dx += dy at the indices of one plane.
void scatter(float* dx, const float* dy, const int32_t* indices, int64_t n, bool some_empty) {
  if (some_empty) {
    for (int64_t i = 0; i < n; ++i) {
      if (indices[i] >= 0) dx[indices[i]] += dy[i];
    }
  } else {
    for (int64_t i = 0; i < n; ++i) dx[indices[i]] += dy[i];
  }
}

bool all_within(const int32_t* indices, int64_t n, int32_t least, int32_t end) {
  int32_t outside = 0;  // no early exit: this loop is vectorised
  for (int64_t i = 0; i < n; ++i) outside |= (indices[i] < least) | (indices[i] >= end);
  return outside == 0;
}

// One window over the whole plane.
bool is_global(const Pool2dShape& s) {
  return s.R == s.H && s.S == s.W && s.P == 1 && s.Q == 1 &&
         (s.top | s.left | s.bottom | s.right) == 0;
}

// Bytes: the input, the output and the indices, `outputs` being 1 or 2 of that size.
Trace traced(const char* op, const Pool2dShape& s, int outputs) {
  return {op,
          {{"N", s.N},
           {"C", s.C},
           {"H", s.H},
           {"W", s.W},
           {"R", s.R},
           {"S", s.S},
           {"P", s.P},
           {"Q", s.Q},
           {"stride", s.stride_h},
           {"pad", s.top}},
          {.bytes = 4.0 * s.N * s.C * (s.H * s.W + outputs * s.P * s.Q)}};
}

}  // namespace

void max_pool2d_forward(float* y, int32_t* indices, const float* x, const Pool2dShape& s) {
  const Trace trace = traced("max_pool2d_forward", s, indices != nullptr ? 2 : 1);
  const Kernels& k = kernels();
  const int64_t floats = std::min(s.stride_h, s.H) * s.W + (indices != nullptr ? 2 : 1) * s.Q;
  parallel_for(s.N * s.C * s.P, chunk(floats), [&](int64_t begin, int64_t end) {
    k.max_pool2d_forward(y, indices, x, s, begin, end);
  });
}

// Each plane belongs to one thread, so overlapping windows need no atomics.
bool max_pool2d_backward(float* dx, const float* dy, const int32_t* indices, const Pool2dShape& s) {
  const Trace trace = traced("max_pool2d_backward", s, 2);
  const int64_t input = s.H * s.W, output = s.P * s.Q, least = pool2d_least_index(s);
  std::atomic<bool> valid{true};
  parallel_for(s.N * s.C, chunk(input + 2 * output), [&](int64_t begin, int64_t end) {
    for (int64_t nc = begin; nc < end; ++nc) {
      const int32_t* const plane = indices + nc * output;
      if (!all_within(plane, output, least, input)) {
        valid = false;
        return;
      }
      std::fill(dx + nc * input, dx + (nc + 1) * input, 0.0f);
      scatter(dx + nc * input, dy + nc * output, plane, output, least < 0);
    }
  });
  return valid;
}

void avg_pool2d_forward(float* y, const float* x, const Pool2dShape& s,
                        const Pool2dDivisor& divisor) {
  const Trace trace = traced("avg_pool2d_forward", s, 1);
  const Kernels& k = kernels();
  if (is_global(s)) {  // planes are runs of elements: side by side, as windows of one row
    const int64_t plane = s.H * s.W;
    parallel_for(s.N * s.C, chunk(plane), [&](int64_t begin, int64_t end) {
      Pool2dShape row = s;
      row.N = row.C = row.H = row.R = row.stride_h = 1;
      row.W = (end - begin) * plane;
      row.S = row.stride_w = plane;
      row.Q = end - begin;
      k.avg_pool2d_forward(y + begin, x + begin * plane, row, divisor, 0, 1);
    });
    return;
  }
  const int64_t floats = std::min(s.stride_h, s.H) * s.W + s.Q;
  parallel_for(s.N * s.C * s.P, chunk(floats), [&](int64_t begin, int64_t end) {
    k.avg_pool2d_forward(y, x, s, divisor, begin, end);
  });
}

void avg_pool2d_backward(float* dx, const float* dy, const Pool2dShape& s,
                         const Pool2dDivisor& divisor) {
  const Trace trace = traced("avg_pool2d_backward", s, 1);
  const Kernels& k = kernels();
  if (is_global(s)) {
    const int64_t plane = s.H * s.W;
    const auto d =
        static_cast<float>(pool2d_divisor(s, divisor, pool2d_rows(s, 0), pool2d_columns(s, 0)));
    parallel_for(s.N * s.C, chunk(plane), [&](int64_t begin, int64_t end) {
      for (int64_t nc = begin; nc < end; ++nc) {
        const float share = dy[nc] / d;
        for (int64_t i = 0; i < plane; ++i) dx[nc * plane + i] = share;
      }
    });
    return;
  }
  const Scratch divisors(s.P * s.Q);
  for (int64_t p = 0; p < s.P; ++p) {
    const Pool2dTaps rows = pool2d_rows(s, p);
    for (int64_t q = 0; q < s.Q; ++q) {
      divisors.get()[p * s.Q + q] =
          static_cast<float>(pool2d_divisor(s, divisor, rows, pool2d_columns(s, q)));
    }
  }
  parallel_for(s.N * s.C, chunk(s.H * s.W + s.P * s.Q), [&](int64_t begin, int64_t end) {
    const Scratch scratch(k.avg_pool2d_scratch(s));
    k.avg_pool2d_backward(dx, dy, divisors.get(), s, begin, end, scratch.get());
  });
}

}  // namespace striate::cpu
