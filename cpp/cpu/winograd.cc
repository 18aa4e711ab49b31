#include "cpu/winograd.h"

namespace striate::cpu {
namespace {

constexpr int kRow = kWinogradPoints;  // vectors in a row of a half transformed tile

}  // namespace

WinogradBlocks::WinogradBlocks(const WinogradAxes& a, int64_t n, int64_t tiles)
    : axes(a), batch(n) {
  const int64_t high = axes.h.tiles, wide = axes.w.tiles;
  images = even_part(batch, std::max<int64_t>(1, tiles / (high * wide)));
  rows = images > 1 ? high : even_part(high, std::max<int64_t>(1, tiles / wide));
  in_image = (high + rows - 1) / rows;
  count = (batch + images - 1) / images * in_image;
}

WinogradBlock WinogradBlocks::at(int64_t i) const {
  const int64_t n = i / in_image * images, row = i % in_image * rows;
  return {axes, n, std::min(images, batch - n), row, std::min(row + rows, axes.h.tiles)};
}

void winograd_spread(const Kernels& kernel, WinogradTransform kind, const WinogradPlaces<float>& to,
                     const float* from, int64_t row_step, int rows, int columns,
                     const WinogradAxis& h, const WinogradAxis& w, bool big_h, bool big_w) {
  const int64_t L = kernel.lanes;
  alignas(64) float half[kRow * kRow * 16];
  const int points_h = h.points() - !big_h, points_w = w.points() - !big_w;
  kernel.winograd_lines(kind, points_h, rows,
                        {.count = columns,
                         .from = from,
                         .from_step = row_step,
                         .from_next = L,
                         .from_last = nullptr,
                         .from_last_next = 0,
                         .to = half,
                         .to_step = kRow * L,
                         .to_next = L,
                         .to_last = nullptr,
                         .to_last_next = 0});
  for (int last = 0; last <= big_h; ++last) {
    kernel.winograd_lines(kind, points_w, columns,
                          {.count = h.points(last),
                           .from = half + (last ? h.points(false) * kRow * L : 0),
                           .from_step = L,
                           .from_next = kRow * L,
                           .from_last = nullptr,
                           .from_last_next = 0,
                           .to = to.at[last][0],
                           .to_step = to.step[last][0],
                           .to_next = w.points(false) * to.step[last][0],
                           .to_last = big_w ? to.at[last][1] : nullptr,
                           .to_last_next = to.step[last][1]});
  }
}

void winograd_collect(const Kernels& kernel, float* to, int64_t row_step,
                      const WinogradPlaces<const float>& from, int rows, int columns,
                      const WinogradAxis& h, const WinogradAxis& w, bool big_h, bool big_w) {
  const int64_t L = kernel.lanes;
  alignas(64) float half[kRow * kRow * 16];
  const int points_h = h.points() - !big_h, points_w = w.points() - !big_w;
  for (int last = 0; last <= big_w; ++last) {
    kernel.winograd_lines(WinogradTransform::collect, points_h, rows,
                          {.count = w.points(last),
                           .from = from.at[0][last],
                           .from_step = w.points(last) * from.step[0][last],
                           .from_next = from.step[0][last],
                           .from_last = big_h ? from.at[1][last] : nullptr,
                           .from_last_next = from.step[1][last],
                           .to = half + (last ? w.points(false) * L : 0),
                           .to_step = kRow * L,
                           .to_next = L,
                           .to_last = nullptr,
                           .to_last_next = 0});
  }
  kernel.winograd_lines(WinogradTransform::collect, points_w, columns,
                        {.count = rows,
                         .from = half,
                         .from_step = L,
                         .from_next = kRow * L,
                         .from_last = nullptr,
                         .from_last_next = 0,
                         .to = to,
                         .to_step = L,
                         .to_next = row_step,
                         .to_last = nullptr,
                         .to_last_next = 0});
}

bool winograd_can_run(const Conv2dShape& s) {
  const auto known = [](int64_t taps) { return taps == 3 || taps == 5; };
  return known(s.R) && known(s.S) && s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 &&
         s.dilation_w == 1;
}

}  // namespace striate::cpu
