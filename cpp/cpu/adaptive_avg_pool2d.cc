#include "striate/adaptive_avg_pool2d.h"

#include <algorithm>
#include <vector>

#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/parallel.h"
#include "cpu/trace.h"
#include "striate/pool2d.h"

namespace striate::cpu {
namespace {

bool is_identity(const AdaptiveAvgPool2dShape& s) { return s.P == s.H && s.Q == s.W; }

bool is_global(const AdaptiveAvgPool2dShape& s) { return s.P == 1 && s.Q == 1; }

// Windows that touch, all of one size: an ordinary mean pool, whose kernel is the faster one where
// it loads whole vectors. (Measured: beyond two columns, summing rows first wins.)
bool is_narrow(const AdaptiveAvgPool2dShape& s) {
  return s.H % s.P == 0 && s.W % s.Q == 0 && s.W / s.Q <= 2;
}

Pool2dShape divided(const AdaptiveAvgPool2dShape& s) {
  const int64_t R = s.H / s.P, S = s.W / s.Q;
  return {.N = s.N,
          .C = s.C,
          .H = s.H,
          .W = s.W,
          .R = R,
          .S = S,
          .P = s.P,
          .Q = s.Q,
          .stride_h = R,
          .stride_w = S};
}

constexpr Pool2dDivisor kWindowSize = {.count_include_pad = false, .divisor_override = 0};

void copy(float* to, const float* from, int64_t count) {
  parallel_for(count, streaming_grain(2 * sizeof(float)), [&](int64_t begin, int64_t end) {
    std::copy(from + begin, from + end, to + begin);
  });
}

Trace traced(const char* op, const AdaptiveAvgPool2dShape& s) {
  return {op,
          {{"N", s.N}, {"C", s.C}, {"H", s.H}, {"W", s.W}, {"P", s.P}, {"Q", s.Q}},
          {.bytes = 4.0 * s.N * s.C * (s.H * s.W + s.P * s.Q)}};
}

std::vector<AdaptiveWindow> windows(int64_t input, int64_t outputs) {
  std::vector<AdaptiveWindow> all(outputs);
  for (int64_t i = 0; i < outputs; ++i) all[i] = adaptive_window(i, input, outputs);
  return all;
}

// body(rows, columns, begin, end, line) over the planes, in parallel.
template <class Body>
void for_planes(const AdaptiveAvgPool2dShape& s, const Body& body) {
  const auto rows = windows(s.H, s.P), columns = windows(s.W, s.Q);
  const int64_t floats = s.H * s.W + s.P * s.Q;
  const int64_t grain = std::max<int64_t>(1, (int64_t{16} << 10) / floats);  // about 64 KiB
  parallel_for(s.N * s.C, grain, [&](int64_t begin, int64_t end) {
    const Scratch line(s.W);
    body(rows.data(), columns.data(), begin, end, line.get());
  });
}

}  // namespace

void adaptive_avg_pool2d_forward(float* y, const float* x, const AdaptiveAvgPool2dShape& s) {
  const Trace trace = traced("adaptive_avg_pool2d_forward", s);
  if (is_identity(s)) return copy(y, x, s.N * s.C * s.H * s.W);
  if (is_narrow(s)) return avg_pool2d_forward(y, x, divided(s), kWindowSize);
  const Kernels& k = kernels();
  for_planes(s, [&](auto rows, auto columns, int64_t begin, int64_t end, float* line) {
    k.adaptive_avg_pool2d_forward(y, x, s, rows, columns, begin, end, line);
  });
}

void adaptive_avg_pool2d_backward(float* dx, const float* dy, const AdaptiveAvgPool2dShape& s) {
  const Trace trace = traced("adaptive_avg_pool2d_backward", s);
  if (is_identity(s)) return copy(dx, dy, s.N * s.C * s.H * s.W);
  if (is_narrow(s) || is_global(s)) {
    return avg_pool2d_backward(dx, dy, divided(s), kWindowSize);
  }
  const Kernels& k = kernels();
  for_planes(s, [&](auto rows, auto columns, int64_t begin, int64_t end, float* line) {
    k.adaptive_avg_pool2d_backward(dx, dy, s, rows, columns, begin, end, line);
  });
}

}  // namespace striate::cpu
