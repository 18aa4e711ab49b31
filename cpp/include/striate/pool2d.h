// max_pool2d, avg_pool2d: the largest element, or the mean, of each window of a plane.
//
//   x (N, C, H, W) -> y (N, C, P, Q). Output (p, q) looks at the input elements
//   (p * stride_h - top + r * dilation_h,  q * stride_w - left + s * dilation_w)
//   for 0 <= r < R, 0 <= s < S, as far as they lie inside the plane.
//
//   max forward    y = max over the window; padding counts as -inf. The first of equal elements
//                  wins, counted row by row; NaN wins over numbers, a later NaN over an earlier
//                  one. indices = h * W + w of the winner in its (unpadded) input plane, or -1
//                  where the window holds no element (then y = -inf; needs a dilation above 1);
//                  may be null.
//   max backward   dx[n, c, indices] += dy, over a dx that starts at zero; -1 adds nothing. Returns
//                  false, dx then being worthless, if an index is not in
//                  [pool2d_least_index(s), H * W).
//   avg forward    y = sum over the window / divisor, where divisor is divisor_override if that is
//                  not 0; else R * S, cut to the padded plane (count_include_pad); else the number
//                  of elements inside the plane. No dilation.
//   avg backward   dx = sum over the windows that hold the element of dy / divisor
//
// Outputs are written, not accumulated. A pad is at most half its window, so that every window
// without dilation holds an element. H * W must fit an int32 for indices.
// (LeCun et al. 1998 sub-sample by means; max pooling: Ranzato et al. 2007; overlapping windows:
// Krizhevsky et al. 2012.)
#pragma once

#include <cstdint>

namespace striate {

struct Pool2dShape {
  int64_t N, C, H, W;  // input
  int64_t R, S;        // window
  int64_t P, Q;        // output, by pool2d_output_size
  int64_t stride_h = 1, stride_w = 1;
  int64_t top = 0, left = 0, bottom = 0, right = 0;  // padding
  int64_t dilation_h = 1, dilation_w = 1;
};

// The functions below are static, not just inline: cpp/cpu/kernels/ compiles them once for each
// instruction set, and the linker must not merge those copies.

/// Windows along one axis, or less than 1 where not even one fits. With ceil_mode a last window may
/// hang over the end, but it must start inside the input or the padding before it.
static constexpr int64_t pool2d_output_size(int64_t input, int64_t kernel, int64_t stride,
                                            int64_t before, int64_t after, int64_t dilation,
                                            bool ceil_mode) {
  const int64_t room = input + before + after - (dilation * (kernel - 1) + 1);
  if (room < 0 && (!ceil_mode || room + stride - 1 < 0)) return 0;
  int64_t size = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
  if (ceil_mode && (size - 1) * stride >= input + before) --size;
  return size;
}

/// The kernel positions [begin, end) of one window along one axis that fall inside the input, and
/// the input position of kernel position 0, which may be negative.
struct Pool2dTaps {
  int64_t start, begin, end;
};

static constexpr Pool2dTaps pool2d_taps(int64_t output, int64_t input, int64_t kernel,
                                        int64_t stride, int64_t before, int64_t dilation) {
  const int64_t start = output * stride - before;
  int64_t begin = start < 0 ? -start : 0, end = start < input ? input - start : 0;
  if (dilation != 1) {  // the usual case does without two divisions
    begin = (begin + dilation - 1) / dilation;
    end = (end + dilation - 1) / dilation;
  }
  if (end > kernel) end = kernel;
  return {start, begin, end < begin ? begin : end};
}

static constexpr Pool2dTaps pool2d_rows(const Pool2dShape& s, int64_t p) {
  return pool2d_taps(p, s.H, s.R, s.stride_h, s.top, s.dilation_h);
}

static constexpr Pool2dTaps pool2d_columns(const Pool2dShape& s, int64_t q) {
  return pool2d_taps(q, s.W, s.S, s.stride_w, s.left, s.dilation_w);
}

/// Indices start at -1 where a dilated window can step over the whole input, else at 0.
static constexpr int64_t pool2d_least_index(const Pool2dShape& s) {
  bool empty = false;
  for (int64_t p = 0; p < s.P && s.dilation_h > s.H; ++p) {
    const Pool2dTaps rows = pool2d_rows(s, p);
    empty |= rows.begin == rows.end;
  }
  for (int64_t q = 0; q < s.Q && s.dilation_w > s.W; ++q) {
    const Pool2dTaps columns = pool2d_columns(s, q);
    empty |= columns.begin == columns.end;
  }
  return empty ? -1 : 0;
}

/// What a mean divides by.
struct Pool2dDivisor {
  bool count_include_pad;
  int64_t divisor_override;  // 0: none
};

/// One axis' share of R * S: the window's size, cut as `d` says.
static constexpr int64_t pool2d_extent(const Pool2dDivisor& d, const Pool2dTaps& taps,
                                       int64_t input, int64_t kernel, int64_t after) {
  if (!d.count_include_pad) return taps.end - taps.begin;
  const int64_t room = input + after - taps.start;
  return kernel < room ? kernel : room;
}

static constexpr double pool2d_divisor(const Pool2dShape& s, const Pool2dDivisor& d,
                                       const Pool2dTaps& rows, const Pool2dTaps& columns) {
  if (d.divisor_override != 0) return static_cast<double>(d.divisor_override);
  return static_cast<double>(pool2d_extent(d, rows, s.H, s.R, s.bottom)) *
         static_cast<double>(pool2d_extent(d, columns, s.W, s.S, s.right));
}

namespace reference {
template <class T>
void max_pool2d_forward(T* y, int32_t* indices, const T* x, const Pool2dShape& s);
template <class T>
bool max_pool2d_backward(T* dx, const T* dy, const int32_t* indices, const Pool2dShape& s);
template <class T>
void avg_pool2d_forward(T* y, const T* x, const Pool2dShape& s, const Pool2dDivisor& divisor);
template <class T>
void avg_pool2d_backward(T* dx, const T* dy, const Pool2dShape& s, const Pool2dDivisor& divisor);
}  // namespace reference

namespace cpu {
void max_pool2d_forward(float* y, int32_t* indices, const float* x, const Pool2dShape& s);
bool max_pool2d_backward(float* dx, const float* dy, const int32_t* indices, const Pool2dShape& s);
void avg_pool2d_forward(float* y, const float* x, const Pool2dShape& s,
                        const Pool2dDivisor& divisor);
void avg_pool2d_backward(float* dx, const float* dy, const Pool2dShape& s,
                         const Pool2dDivisor& divisor);
}  // namespace cpu

namespace cuda {
void max_pool2d_forward(float* y, int32_t* indices, const float* x, const Pool2dShape& s);
/// Each input element gathers its gradient; always true: an index outside the plane adds nothing, and
/// telling of it would mean to wait.
bool max_pool2d_backward(float* dx, const float* dy, const int32_t* indices, const Pool2dShape& s);
void avg_pool2d_forward(float* y, const float* x, const Pool2dShape& s,
                        const Pool2dDivisor& divisor);
void avg_pool2d_backward(float* dx, const float* dy, const Pool2dShape& s,
                         const Pool2dDivisor& divisor);
}  // namespace cuda

}  // namespace striate
