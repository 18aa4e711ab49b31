// conv2d without a matrix of patches: the kernels read the image where it stands, or a padded copy
// of it that stays in the cache. For few channels, where laying out patches costs as much as
// multiplying them; see kernels/conv2d_direct.h for the two forms of the register tile.
#include "cpu/conv2d_direct.h"

#include <algorithm>

#include "cpu/conv2d_algorithm.h"
#include "cpu/conv2d_pool.h"
#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"

namespace striate::cpu {
namespace {

int64_t blocks_of(int64_t size, int64_t part) { return (size + part - 1) / part; }

// Of the two forms the one whose vectors are better filled: with output channels, or with the
// pixels of a row, where one or two channels also leave the multipliers waiting for loads.
bool lanes_are_channels(const Kernels& kernels, const Conv2dShape& s) {
  const auto filled = [&](int64_t size) {
    return static_cast<double>(size) / round_up(size, kernels.lanes);
  };
  const int64_t K = s.K / s.G;
  const double busy = K == 1 ? 0.5 : K == 2 ? 0.8 : 1;
  return filled(K) > filled(s.Q) * busy;
}

// Output channels are done in blocks.
struct Blocks {
  int64_t channels, width;  // of a block, and as the weights are packed

  Blocks(const Kernels& kernels, const Conv2dShape& s) {
    const int64_t K = s.K / s.G;
    channels = lanes_are_channels(kernels, s) ? std::min<int64_t>(K, kernels.channel_lanes)
                                              : even_part(K, kernels.pixel_channels);
    width = lanes_are_channels(kernels, s) ? kernels.lanes : 1;
  }
  int64_t padded(int64_t k) const { return round_up(k, width); }
};

// Some output rows of one image and group read these rows of it, padded and in phases; or the
// image itself, where it has no padding.
class Layout {
 public:
  Layout(const Kernels& kernels, const Conv2dShape& shape, bool channels, int64_t most_rows)
      : s(shape),
        padded(shape, shape.stride_w, (most_rows - 1) * s.stride_h + (s.R - 1) * s.dilation_h + 1) {
    const bool inside = s.pad_top <= 0 && s.pad_left <= 0 && s.pad_bottom <= 0 && s.pad_right <= 0;
    // Vectors that are longer than a row read past the last one.
    const bool reads_past = !channels && s.Q < kernels.lanes;
    copies = !inside || s.stride_w > 1 || reads_past;
    slack = reads_past ? kernels.lanes : 0;
    row = copies ? padded.row : s.W;
    plane = copies ? padded.plane : s.H * s.W;
  }

  int64_t size() const { return copies ? padded.size() + slack : 0; }

  // The rows that outputs from p0 on read, in `scratch` (whose padding stays zero from one image
  // to the next if `clean`) or where they stand.
  const float* read(const Kernels& kernels, float* scratch, const float* x, int64_t p0,
                    bool clean) const {
    const int64_t h0 = p0 * s.stride_h;
    if (!copies) return x + (h0 - s.pad_top) * s.W - s.pad_left;
    if (!clean) std::fill_n(scratch, size(), 0.0f);
    padded.copy(kernels, scratch, x, h0);
    return scratch;
  }

  // Where tap (c, r, s) stands, from what output (0, 0) reads first.
  void fill_taps(int32_t* tap) const {
    for (int64_t c = 0; c < s.C / s.G; ++c) {
      for (int64_t r = 0; r < s.R; ++r) {
        for (int64_t i = 0; i < s.S; ++i) {
          const int64_t w = i * s.dilation_w;
          const int64_t column = copies ? w % s.stride_w * padded.phase_size + w / s.stride_w : w;
          *tap++ = static_cast<int32_t>(c * plane + r * s.dilation_h * row + column);
        }
      }
    }
  }

  int64_t row_step() const { return s.stride_h * row; }

 private:
  const Conv2dShape& s;
  const DirectRows padded;
  int64_t row, plane, slack;
  bool copies;
};

// Output rows of a piece: few enough that a large image makes many pieces, and that what they read
// stays in the cache.
int64_t rows_of_piece(const Conv2dShape& s) {
  constexpr int64_t kMostWork = 8 << 20;  // multiplications
  const int64_t row_work = s.K / s.G * s.Q * s.CRS(), row_floats = s.C / s.G * s.stride_h * s.W;
  return even_part(s.P,
                   std::max<int64_t>(1, std::min(kMostWork / row_work, kBlockFloats / row_floats)));
}

}  // namespace

bool direct_can_run(Conv2dPass pass, const Conv2dShape& s) {
  const bool stride_1 = s.stride_h == 1 && s.stride_w == 1;
  if (pass == Conv2dPass::backward_weight && s.dilation_w != 1) return false;
  if (pass == Conv2dPass::backward_data && !stride_1 && s.dilation_w != 1) return false;
  constexpr int64_t kMost = int64_t{1} << 24;  // offsets of taps are 32 bits
  const int64_t height = s.H + s.P * s.stride_h + s.R * s.dilation_h;
  const int64_t width = s.W + s.Q * s.stride_w + s.S * s.dilation_w;
  return height < kMost && width < kMost && s.C / s.G < kMost && height * width < kMost &&
         s.C / s.G * height * width < (int64_t{1} << 30);
}

bool direct_is_best(Conv2dPass pass, const Conv2dShape& s) {
  constexpr int64_t kFewChannels = 16;
  if (s.C / s.G > kFewChannels || s.R * s.S == 1) return false;
  const bool stride_1 = s.stride_h == 1 && s.stride_w == 1;
  return pass != Conv2dPass::backward_data || stride_1 || direct_spreads_data(s);
}

int64_t direct_weights_size(const Conv2dShape& s) {
  return s.G * Blocks(kernels(), s).padded(s.K / s.G) * s.CRS();
}

void direct_prepare_weights(float* packed, const float* w, const Conv2dShape& s) {
  const Kernels& kernel = kernels();
  const Blocks blocks(kernel, s);
  const int64_t K = s.K / s.G, group = blocks.padded(K) * s.CRS();
  const int64_t each = blocks_of(K, blocks.channels);
  const int64_t grain = std::max<int64_t>(1, 16384 / (blocks.channels * s.CRS()));
  parallel_for(s.G * each, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t g = i / each, k = i % each * blocks.channels;
      const int64_t count = std::min(blocks.channels, K - k), width = blocks.padded(count);
      float* const to = packed + g * group + k * s.CRS();
      if (count < width) std::fill_n(to, width * s.CRS(), 0.0f);
      kernel.transpose(to, width, w + (g * K + k) * s.CRS(), s.CRS(), count, s.CRS());
    }
  });
}

namespace {

// Where results go: y as it is, or its 2x2 maxima and, unless nullptr, their indices.
struct Output {
  float* y;
  int32_t* indices = nullptr;
  bool pool = false;
};

void run_forward(const Output& out, const float* x, const float* packed, const Conv2dFinish& finish,
                 const Conv2dShape& s) {
  constexpr int64_t kTileFloats = 12288;  // outputs that wait to be turned or pooled
  constexpr int64_t kLeastWork = 1 << 19;
  const Kernels& kernel = kernels();
  const Blocks blocks(kernel, s);
  const bool channels = lanes_are_channels(kernel, s);
  const int64_t unit = out.pool ? 2 : 1, P = s.P / unit * unit, Q = s.Q / unit, PQ = P / unit * Q;
  const int64_t K = s.K / s.G, rows = round_up(rows_of_piece(s), unit), pieces = blocks_of(P, rows);
  const int64_t group = blocks.padded(K) * s.CRS(), width = blocks.padded(blocks.channels);
  const int64_t tile_rows =
      !channels && !out.pool
          ? rows
          : round_up(std::clamp<int64_t>(kTileFloats / (s.Q * width), 1, rows), unit);
  const int64_t tile_floats = channels || out.pool ? tile_rows * s.Q * width : 0;
  const Layout layout(kernel, s, channels, rows);
  const Scratch taps(s.CRS());
  auto* const tap = reinterpret_cast<int32_t*>(taps.get());
  layout.fill_taps(tap);

  // A piece: some output rows of one group of one image.
  const int64_t grain = std::max<int64_t>(1, kLeastWork / (rows * s.Q * K * s.CRS()));
  parallel_for(s.N * s.G * pieces, grain, [&](int64_t begin, int64_t end) {
    const Scratch image(layout.size());
    const Scratch tile(tile_floats + (out.pool ? tile_floats / 2 + 2 * kernel.lanes : 0));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image_group = i / pieces, g = image_group % s.G, p0 = i % pieces * rows;
      const int64_t p1 = std::min(p0 + rows, P);
      const float* from = x + image_group * (s.C / s.G) * s.H * s.W;
      from = layout.read(kernel, image.get(), from, p0, pieces == 1 && i > begin);
      for (int64_t k = 0; k < K; k += blocks.channels) {
        const int64_t count = std::min(blocks.channels, K - k), first = g * K + k;
        for (int64_t p = p0; p < p1; p += tile_rows) {
          const int64_t high = std::min(tile_rows, p1 - p);
          const int64_t to = (image_group * K + k) * PQ + p / unit * Q;
          const DirectConv conv{.x = from + (p - p0) * layout.row_step(),
                                .x_row = layout.row_step(),
                                .tap = tap,
                                .taps = s.CRS(),
                                .P = high,
                                .Q = s.Q,
                                .w = packed + g * group + k * s.CRS(),
                                .bias = finish.bias == nullptr ? nullptr : finish.bias + first,
                                .relu = finish.relu,
                                .y = !out.pool  ? out.y + to
                                     : channels ? nullptr
                                                : tile.get(),
                                .y_channel = out.pool ? high * s.Q : s.PQ(),
                                .y_row = s.Q};
          const DirectPool pool{.x = tile.get(),
                                .x_row = s.Q,
                                .x_channel = high * s.Q,
                                .first = static_cast<int32_t>(p * s.Q),
                                .P = high / unit,
                                .Q = Q,
                                .y = out.y + to,
                                .indices = out.indices == nullptr ? nullptr : out.indices + to,
                                .y_channel = PQ};
          if (channels) {
            kernel.direct_channels(count, conv, tile.get());
            if (out.pool) kernel.direct_pool_channels(count, pool, tile.get() + tile_floats);
          } else {
            kernel.direct_pixels(count, conv);
            if (out.pool) kernel.direct_pool_pixels(count, pool);
          }
        }
      }
    }
  });
}

}  // namespace

void direct_conv2d_forward(float* y, const float* x, const float* packed,
                           const Conv2dFinish& finish, const Conv2dShape& s) {
  run_forward({.y = y}, x, packed, finish, s);
}

void direct_conv2d_pool_forward(float* y, int32_t* indices, const float* x, const float* packed,
                                const float* bias, const Conv2dShape& s) {
  const Trace trace = trace_conv2d("conv2d_forward", s, Conv2dAlgorithm::direct);
  if (s.N * s.K * (s.P / 2) * (s.Q / 2) == 0) return;
  run_forward({.y = y, .indices = indices, .pool = true}, x, packed, {.bias = bias, .relu = true},
              s);
}

}  // namespace striate::cpu
