// conv2d's gradient of the weights without patches, for few input channels. If most of dy is zero,
// every element that is not adds a patch of x to the sums of its output channel (kernels/
// conv2d_direct_backward.h). Elements are taken in order, over a fixed part of the batch; the parts'
// sums are added in order.
#include <algorithm>

#include "cpu/conv2d_algorithm.h"
#include "cpu/conv2d_direct.h"
#include "cpu/conv2d_pool.h"
#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/packed.h"
#include "cpu/parallel.h"

namespace striate::cpu {
namespace {

constexpr int64_t kRun = 8;  // kernels/conv2d_direct_backward.h

// Padded copies of some images of one group, which stay in L1.
class Images {
 public:
  Images(const Conv2dShape& shape, int64_t most)
      : s(shape),
        layout(shape, 1, (shape.P - 1) * shape.stride_h + (shape.R - 1) * shape.dilation_h + 1,
               kLine),
        at_once(std::clamp<int64_t>(kFloats / layout.size(), 1, most)) {}

  // With what vectors read past the last row.
  int64_t scratch() const { return at_once * layout.size() + round_up(s.S, kRun); }
  int64_t step() const { return layout.size(); }
  int64_t row() const { return layout.row; }
  int64_t plane() const { return layout.plane; }

  // x: the first image of the group. `to` was zero before the first call.
  void copy(const Kernels& kernels, float* to, const float* x, int64_t n, int64_t count) const {
    for (int64_t i = 0; i < count; ++i) {
      layout.copy(kernels, to + i * step(), x + (n + i) * s.C * s.H * s.W, 0);
    }
  }

 private:
  static constexpr int64_t kFloats = 6144;  // 24 KiB
  static constexpr int64_t kLine = 16;      // a short row in one cache line: loads do not cross it

  const Conv2dShape& s;
  const DirectRows layout;

 public:
  const int64_t at_once;
};

// Whether so few elements of dy's first image differ from zero that taking them one by one pays:
// each load serves one multiplication only, and of a run's lanes only S are of use. (Seen at S = 5:
// a third of dy costs as much one by one as all of it by direct_add_taps.)
bool mostly_zeros(const Kernels& kernels, const float* dy, const Conv2dShape& s) {
  const double most = 0.5 * static_cast<double>(s.S) / static_cast<double>(round_up(s.S, kRun));
  const Scratch list(3 * (s.PQ() + kernels.lanes));
  auto* const ints = reinterpret_cast<int32_t*>(list.get());
  std::fill_n(ints, s.PQ(), 0);
  int64_t found = 0;
  for (int64_t k = 0; k < s.K; ++k) {
    found += kernels.direct_nonzeros(ints + s.PQ() + kernels.lanes,
                                     list.get() + 2 * (s.PQ() + kernels.lanes), dy + k * s.PQ(),
                                     ints, s.PQ());
  }
  return static_cast<double>(found) <= most * static_cast<double>(s.K * s.PQ());
}

// list(at, value, plane, place): lists what is not zero of one of dy's planes; returns how many.
template <class List>
void add_weight(float* dw, float* db, const List& list, const float* x, const Conv2dShape& s) {
  const Kernels& kernel = kernels();
  const int64_t K = s.K / s.G, C = s.C / s.G, size = s.K * s.CRS();
  const int64_t runs = (s.S + kRun - 1) / kRun, sums_channel = runs * s.R * kRun;

  constexpr int64_t kMostWork = 64 << 20;  // multiplications
  const DirectParts parts_of_batch(s);
  const int64_t part = parts_of_batch.images, parts = parts_of_batch.count;
  const Images images(s, part);
  const int64_t channels =
      even_part(K, std::max<int64_t>(1, kMostWork / (part * s.PQ() * s.CRS())));
  const int64_t blocks = (K + channels - 1) / channels;
  const Scratch partial(parts_of_batch.scratch()), places(images.at_once * s.PQ());
  const Scratch bias_sums(db != nullptr ? 2 * parts * s.K : 0);
  float* const to = parts_of_batch.sums(dw, partial);

  auto* const bias_sum = reinterpret_cast<double*>(bias_sums.get());
  auto* const place = reinterpret_cast<int32_t*>(places.get());
  for (int64_t i = 0; i < images.at_once; ++i) {
    for (int64_t p = 0; p < s.P; ++p) {
      const int64_t first = i * images.step() + p * s.stride_h * images.row();
      int32_t* const to = place + (i * s.P + p) * s.Q;
      for (int64_t q = 0; q < s.Q; ++q) to[q] = static_cast<int32_t>(first + q * s.stride_w);
    }
  }

  // A piece: some output channels of one group, over one part of the batch.
  parallel_for(parts * s.G * blocks, 1, [&](int64_t piece, int64_t) {
    const int64_t g = piece / blocks % s.G, k0 = g * K + piece % blocks * channels;
    const int64_t k1 = std::min(k0 + channels, (g + 1) * K);
    const int64_t begin = piece / (s.G * blocks) * part, end = std::min(begin + part, s.N);
    const int64_t most = images.at_once * s.PQ() + kernel.lanes;
    const Scratch copies(images.scratch()), found(2 * most);
    LongSums sums((k1 - k0) * C * sums_channel);
    auto* const at = reinterpret_cast<int32_t*>(found.get());
    float* const value = found.get() + most;
    double* const part_bias = bias_sum + begin / part * s.K;
    if (db != nullptr) std::fill(part_bias + k0, part_bias + k1, 0.0);
    std::fill_n(copies.get(), images.scratch(), 0.0f);
    for (int64_t n = begin; n < end;) {
      const int64_t count = std::min(images.at_once, end - n);
      images.copy(kernel, copies.get(), x + g * C * s.H * s.W, n, count);
      for (int64_t k = k0; k < k1; ++k) {
        int64_t entries = 0;
        for (int64_t i = 0; i < count; ++i) {
          entries += list(at + entries, value + entries, (n + i) * s.K + k, place + i * s.PQ());
        }
        if (db != nullptr) part_bias[k] += kernel.sum(value, entries);
        kernel.direct_add_patches(sums.get() + (k - k0) * C * sums_channel, copies.get(),
                                  {.count = entries,
                                   .C = C,
                                   .R = s.R,
                                   .S = s.S,
                                   .at = at,
                                   .value = value,
                                   .x_row = s.dilation_h * images.row(),
                                   .x_plane = images.plane(),
                                   .sums_channel = sums_channel});
      }
      sums.count(kernel, count * s.PQ());
      n += count;
    }
    float* out = to + begin / part * size + k0 * s.CRS();
    const float* const total = sums.total(kernel);
    for (const float* sum = total; sum < total + (k1 - k0) * C * sums_channel;
         sum += sums_channel) {
      for (int64_t r = 0; r < s.R; ++r) {
        for (int64_t i = 0; i < s.S; ++i) *out++ = sum[(i / kRun * s.R + r) * kRun + i % kRun];
      }
    }
  });
  for (int64_t k = 0; db != nullptr && k < s.K; ++k) {
    double total = 0;
    for (int64_t i = 0; i < parts; ++i) total += bias_sum[i * s.K + k];
    db[k] = static_cast<float>(total);
  }
  parts_of_batch.add(dw, to);
}

}  // namespace

void direct_conv2d_backward_weight(float* dw, const float* dy, const float* x,
                                   const Conv2dShape& s) {
  const Kernels& kernel = kernels();
  const int64_t K = s.K / s.G;
  const bool fill_lanes = 3 * K >= kernel.lanes;
  if (s.PQ() > kDirectLongestSum || (fill_lanes && !mostly_zeros(kernel, dy, s))) {
    return direct_conv2d_backward_weight_dense(dw, dy, x, s);
  }
  add_weight(
      dw, nullptr,
      [&](int32_t* at, float* value, int64_t plane, const int32_t* place) {
        return kernel.direct_nonzeros(at, value, dy + plane * s.PQ(), place, s.PQ());
      },
      x, s);
}

void direct_conv2d_pool_backward_weight(float* dw, float* db, const PooledGradient& gradient,
                                        const float* x, const Conv2dShape& s) {
  const Trace trace = trace_conv2d("conv2d_backward_weight", s, Conv2dAlgorithm::direct);
  const int64_t P = s.P / 2, Q = s.Q / 2;
  if (s.N * P * Q == 0) {
    std::fill_n(dw, s.K * s.CRS(), 0.0f);
    if (db != nullptr) std::fill_n(db, s.K, 0.0f);
    return;
  }
  const Kernels& kernel = kernels();
  add_weight(
      dw, db,
      [&](int32_t* at, float* value, int64_t plane, const int32_t* place) {
        const int64_t first = plane * P * Q;
        return kernel.direct_pooled_nonzeros(
            at, value, {gradient.dy + first, gradient.indices + first, gradient.y + first}, place,
            P, Q, s.Q);
      },
      x, s);
}

}  // namespace striate::cpu
