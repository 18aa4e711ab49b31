// The micro-kernels of one instruction set, as a table. One line per kernel declares it here and
// one line per kernel fills it in table.cc; selection (isa.h), ops and tests use nothing else.
#pragma once

#include <cstdint>

#include "striate/conv2d.h"

namespace striate {
struct AdaptiveAvgPool2dShape;
struct AdaptiveWindow;
struct DropoutKey;
struct LocalResponseNorm;
struct Pool2dDivisor;
struct Pool2dShape;
struct SgdOptions;
}  // namespace striate

namespace striate::cpu {

/// C[rows, N] (+)= A[rows, K] B[K, N], for at most Kernels::tile_rows rows and tile_columns
/// columns.
struct GemmTile {
  float* c;
  const float* a;  // packed: a[k * rows + i]
  const float* b;  // b[k * ldb + j]; whole vectors are read, past N
  int64_t K, N, ldb, ldc;
  const float* bias;         // is added to row i, or nullptr
  const float* column_bias;  // is added to column j, or nullptr
  bool accumulate;           // add to C instead of writing it
  bool relu;                 // write 0 for what is negative
};

/// C[i, j] (+)= sum over batch and k of A[batch, i, k] B[batch, j, k].
struct GemmDot {
  float* c;
  const float *a, *b;
  int64_t K, batch, a_step, b_step, lda, ldb;
  int64_t ldc_row, ldc_column;
  bool accumulate;
};

/// Some output rows of some channels of one image, straight from an image that is laid out (padded,
/// in phases) as DirectLayout says: output (p, q) is the sum over the taps, which stand for
/// (c, r, s), of their weights and x[p * x_row + q + tap[i]].
struct DirectConv {
  const float* x;
  int64_t x_row;
  const int32_t* tap;
  int64_t taps, P, Q;  // P: rows to compute
  const float* w;      // packed: w[tap][channel], for direct_channels padded to whole vectors
  const float* bias;   // of the first channel, or nullptr
  bool relu;
  float* y;  // y[channel * y_channel + p * y_row + q]; direct_channels: rows side by side
  int64_t y_channel, y_row;
};

/// Rows of an image as DirectConv reads them: pixel w of row h of channel c goes to
/// c * plane + h * row + (first + w) % phases * phase_size + (first + w) / phases.
struct DirectLayout {
  int64_t channels, rows, columns, x_plane, x_row;  // what is copied
  int64_t plane, row, phases, phase_size, first;    // to where
};

/// Elements of dy that are not zero, and the patches of x under them, as the gradient of the weights
/// of one output channel needs them. sums[channel][run][kernel row][8], runs being 8 of the S
/// columns; lanes past S hold nothing of use. Patches are read up to 7 floats past their rows.
struct DirectPatches {
  int64_t count, C, R, S;
  const int32_t* at;  // where in x a patch starts
  const float* value;
  int64_t x_row, x_plane, sums_channel;
};

/// Some rows of dy[P][Q][channels, padded to whole vectors], and the padded x under them.
struct DirectTaps {
  const float *dy, *x;
  int64_t P, Q, C, R, S;
  int64_t x_row, x_step, x_plane, x_tap_row;  // x_row, x_step: from one output to the next
};

/// What the pixels of dy[P][Q][K] owe to dx, whose channels stand last: pixel (p, q) adds rows of
/// w_used floats (S * C, padded with zeros to w_row, whole vectors) from p * dx_step_h + q * dx_step_w on.
struct DirectSpread {
  int64_t P, Q, K, R;
  const float* w;          // w[k][kernel row][w_row]
  const int32_t* w_place;  // k * R * w_row
  int64_t w_row, w_used, dx_row, dx_step_h, dx_step_w;
  int32_t* at;  // scratch: K + lanes of each
  float* value;
};

/// A 2x2 max pooling of rows x, P * Q outputs: y and indices[channel * y_channel + p * Q + q]. The
/// first pixel of x has index `first` in its plane, whose rows are x_row long, like those of x.
struct DirectPool {
  const float* x;
  int64_t x_row, x_channel;
  int32_t first;
  int64_t P, Q;
  float* y;
  int32_t* indices;  // or nullptr
  int64_t y_channel;
};

/// One plane of the gradient of a pooled map, the indices of its maxima, and the map itself.
struct DirectPooledDy {
  const float* dy;
  const int32_t* indices;
  const float* y;
};

// Of local_response_norm: places that are done together, and how far apart channels then lie.
constexpr int64_t kLrnTile = 64;
static inline int64_t lrn_pitch(int64_t places) { return (places + 15) / 16 * 16; }

// Of winograd.h. A tile has at most so many points along an axis.
constexpr int kWinogradPoints = 8;
enum class WinogradTransform { evaluate, interpolate, collect };

/// Vectors of lanes, `count` lines of them, each transformed along itself: input k of line i stands
/// at from + i * from_next + k * from_step, but the last one at from_last + i * from_last_next
/// unless that is nullptr; outputs likewise. All steps count floats.
struct WinogradLines {
  int64_t count;
  const float* from;
  int64_t from_step, from_next;
  const float* from_last;
  int64_t from_last_next;
  float* to;
  int64_t to_step, to_next;
  float* to_last;
  int64_t to_last_next;
};

/// C[i, j] (+)= sum over k of A[k, i] B[k, j], in rows of ldc and ldb; whole vectors of C and B.
struct WinogradTile {
  float* c;
  const float *a, *b;
  int64_t K, lda, ldb, ldc;
  bool accumulate;
};

/// A window of planes: `rows` x `columns` pixels from (top, left) on, which may lie outside.
struct WinogradPlanes {
  int64_t plane, channels;  // floats from one to the next; how many (the lanes or fewer)
  int64_t height, width;
  int64_t top, left, rows, columns;
};

struct Kernels {
  int lanes;  // floats in a vector

  // gemm.h
  int tile_rows, tile_columns, dot_rows, dot_columns;
  void (*gemm_tile)(int64_t rows, const GemmTile& t);
  void (*gemm_dot)(int64_t rows, int64_t columns, const GemmDot& t);
  void (*transpose)(float* to, int64_t ld_to, const float* from, int64_t ld_from, int64_t rows,
                    int64_t columns);
  void (*copy)(float* to, int64_t ld_to, const float* from, int64_t ld_from, int64_t rows,
               int64_t columns);

  // conv2d.h
  void (*im2col)(float* col, int64_t ld, const float* x, const Conv2dShape& s, int64_t k0,
                 int64_t k1, int64_t p0, int64_t p1);
  void (*col2im)(float* dx, const float* col, int64_t ld, const Conv2dShape& s, int64_t channels);

  // winograd.h; a tile's rows and columns are those of gemm_tile
  void (*winograd_lines)(WinogradTransform kind, int points, int n, const WinogradLines& l);
  void (*winograd_tile)(int64_t rows, int vectors, const WinogradTile& t);
  void (*winograd_weight_tile)(int64_t rows, int vectors, const WinogradTile& t);
  void (*planes_to_lanes)(float* to, const float* from, const WinogradPlanes& p);
  void (*lanes_to_planes)(float* to, int64_t plane, const float* from, int64_t pixels,
                          int64_t channels, const float* bias, bool with_relu);

  // reduce.h
  float (*sum)(const float* x, int64_t n);
  void (*add)(float* y, const float* x, int64_t n);

  // local_response_norm.h
  void (*lrn_bases)(float* d, float* squares, const float* x, const LocalResponseNorm& s,
                    int64_t places);
  void (*lrn_power)(float* y, const float* d, int64_t n);
  void (*lrn_forward)(float* y, const float* x, const float* powers, const LocalResponseNorm& s,
                      int64_t places);
  void (*lrn_backward)(float* dx, const float* dy, const float* x, const float* powers, float* d,
                       float* ratios, const LocalResponseNorm& s, int64_t places);

  // pool2d.h
  void (*max_pool2d_forward)(float* y, int32_t* indices, const float* x, const Pool2dShape& s,
                             int64_t begin, int64_t end);
  void (*avg_pool2d_forward)(float* y, const float* x, const Pool2dShape& s,
                             const Pool2dDivisor& divisor, int64_t begin, int64_t end);

  // adaptive_avg_pool2d.h
  void (*adaptive_avg_pool2d_forward)(float* y, const float* x, const AdaptiveAvgPool2dShape& s,
                                      const AdaptiveWindow* rows, const AdaptiveWindow* columns,
                                      int64_t begin, int64_t end, float* line);
  void (*adaptive_avg_pool2d_backward)(float* dx, const float* dy, const AdaptiveAvgPool2dShape& s,
                                       const AdaptiveWindow* rows, const AdaptiveWindow* columns,
                                       int64_t begin, int64_t end, float* line);

  // activation.h
  void (*relu_forward)(float* y, const float* x, int64_t n);
  void (*relu_backward)(float* dx, const float* dy, const float* y, int64_t n);
  void (*tanh_forward)(float* y, const float* x, int64_t n);
  void (*tanh_backward)(float* dx, const float* dy, const float* y, int64_t n);
  void (*sigmoid_forward)(float* y, const float* x, int64_t n);
  void (*sigmoid_backward)(float* dx, const float* dy, const float* y, int64_t n);

  // avg_pool2d_backward.h
  int64_t (*avg_pool2d_scratch)(const Pool2dShape& s);
  void (*avg_pool2d_backward)(float* dx, const float* dy, const float* divisors,
                              const Pool2dShape& s, int64_t begin, int64_t end, float* scratch);

  // dropout.h
  void (*dropout)(float* y, const float* x, int64_t n, uint32_t threshold, float scale,
                  const DropoutKey& key, int64_t offset);

  // sgd.h
  void (*sgd_step)(float* w, const float* dw, float* v, int64_t n, bool first,
                   const SgdOptions& options);

  // peak.h
  int peak_sums;
  float (*multiply_add_loop)(int64_t rounds, float a, float b);
  float (*read_loop)(const float* x, int64_t n);

  // softmax.h
  void (*softmax_rows)(float* y, const float* x, int64_t rows, int64_t classes);
  void (*softmax_columns)(float* y, int64_t y_stride, const float* x, int64_t x_stride,
                          int64_t classes, int64_t rows);
  void (*softmax_rows_backward)(float* dx, const float* dy, const float* y, int64_t rows,
                                int64_t classes);
  void (*softmax_columns_backward)(float* dx, const float* dy, const float* y, int64_t stride,
                                   int64_t classes, int64_t rows);
  void (*log_softmax_rows)(float* y, const float* x, int64_t rows, int64_t classes);
  void (*log_softmax_columns)(float* y, int64_t y_stride, const float* x, int64_t x_stride,
                              int64_t classes, int64_t rows);
  void (*log_softmax_rows_backward)(float* dx, const float* dy, const float* y, int64_t rows,
                                    int64_t classes);
  void (*log_softmax_columns_backward)(float* dx, const float* dy, const float* y, int64_t stride,
                                       int64_t classes, int64_t rows);

  // conv2d_direct.h: `channels` is at most pixel_channels (direct_pixels, which reads whole vectors:
  // up to `lanes` floats past a row that is shorter) or channel_lanes (direct_channels, which leaves
  // [pixel][channel] in `tile`, channels padded to whole vectors, and turns it into y unless y is
  // nullptr).
  int pixel_channels, channel_lanes;
  void (*direct_pixels)(int64_t channels, const DirectConv& t);
  void (*direct_channels)(int64_t channels, const DirectConv& t, float* tile);
  void (*direct_lay_out)(float* to, const float* x, const DirectLayout& l);
  void (*turn_channels)(float* to, int64_t ld_to, const float* from, int64_t ld_from, int64_t rows,
                        int64_t columns);

  // conv2d_direct_backward.h
  int64_t (*direct_nonzeros)(int32_t* at, float* value, const float* dy, const int32_t* place,
                             int64_t n);
  void (*direct_add_patches)(float* sums, const float* x, const DirectPatches& t);
  void (*direct_add_taps)(int64_t channels, float* sums, const DirectTaps& t);
  int64_t (*direct_pooled_nonzeros)(int32_t* at, float* value, const DirectPooledDy& t,
                                    const int32_t* place, int64_t P, int64_t Q, int64_t plane_Q);
  void (*direct_pool_pixels)(int64_t channels, const DirectPool& t);
  void (*direct_pool_channels)(int64_t channels, const DirectPool& t, float* scratch);
  void (*direct_spread)(float* dx, const float* dy, const DirectSpread& t);
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
