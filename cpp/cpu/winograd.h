// How Winograd's convolution cuts a map into tiles, where each tile's points lie, and the transforms
// in two dimensions: what conv2d_winograd.cc and conv2d_winograd_weight.cc share. The algorithm and
// its matrices: kernels/winograd.h.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/conv2d_algorithm.h"
#include "cpu/isa.h"
#include "cpu/packed.h"
#include "striate/conv2d.h"

namespace striate::cpu {

/// One axis of the output: `big` tiles of m outputs, then tiles of m - 1. They share the points,
/// but the last point belongs to the big ones only.
struct WinogradAxis {
  int64_t tiles, big;
  int m, taps;

  // As few tiles as `most` outputs allow, as equal as can be: 13 = 5 + 4 + 4 takes 19 points, where
  // 4 + 4 + 4 + 4 takes 24. A further tile costs taps - 1 points, whatever the sizes.
  WinogradAxis(int64_t outputs, int64_t kernel, int64_t most)
      : tiles((outputs + most - 1) / most),
        big((outputs - 1) % tiles + 1),
        m(static_cast<int>((outputs - 1) / tiles + 1)),
        taps(static_cast<int>(kernel)) {}

  int points() const { return m + taps - 1; }
  int points(bool last) const { return last ? 1 : points() - 1; }  // of a class
  int64_t first(int64_t tile) const { return tile * m - std::max<int64_t>(0, tile - big); }
};

struct WinogradAxes {
  WinogradAxis h, w;

  /// Tiles for the outputs of s, in which `pass` is done: the gradient of the data is the output of
  /// the convolution that makes it.
  WinogradAxes(Conv2dPass pass, const Conv2dShape& s)
      : h(s.P, s.R, most(pass, s.R)), w(s.Q, s.S, most(pass, s.S)) {}

  int64_t points() const { return h.points() * w.points(); }

  // The largest tiles whose error stays within what striate/conv2d.h says. Of a gradient's elements
  // some few are a hundred times the others, and theirs is the error of their tile.
  static int64_t most(Conv2dPass pass, int64_t taps) {
    return taps == 3 && pass != Conv2dPass::backward_data ? 5 : 4;
  }
};

/// Tiles that are transformed together: whole images, or some rows of tiles of one image. Their
/// points (i, j) come in four classes: i is the last point of the vertical axis or not, j of the
/// horizontal one. All points of a class have equally many tiles.
struct WinogradBlock {
  WinogradAxis h, w;
  int64_t image, images, row0, row1;
  int64_t tiles[2][2];  // at each point of the class [vertical last][horizontal last]
  int64_t first[2][2];  // places (tile, point) in the classes before
  int64_t places;

  WinogradBlock(const WinogradAxes& axes, int64_t n, int64_t count, int64_t begin, int64_t end)
      : h(axes.h), w(axes.w), image(n), images(count), row0(begin), row1(end), places(0) {
    for (int a = 0; a < 2; ++a) {
      for (int b = 0; b < 2; ++b) {
        tiles[a][b] = images * rows(a) * (b ? w.big : w.tiles);
        first[a][b] = places;
        places += tiles[a][b] * h.points(a) * w.points(b);
      }
    }
  }

  int64_t rows(bool last) const {
    return last ? std::clamp<int64_t>(h.big - row0, 0, row1 - row0) : row1 - row0;
  }
  /// The place of a tile among those of a class; n counts the block's images.
  int64_t tile(bool a, bool b, int64_t n, int64_t row, int64_t column) const {
    return (n * rows(a) + row - row0) * (b ? w.big : w.tiles) + column;
  }
  int64_t pixels() const { return (h.first(row1) - h.first(row0)) * w.first(w.tiles); }
};

/// A batch in blocks of at most so many tiles, or of one row of them.
struct WinogradBlocks {
  WinogradAxes axes;
  int64_t batch, images, rows, in_image, count;

  WinogradBlocks(const WinogradAxes& axes, int64_t batch, int64_t tiles);
  WinogradBlock at(int64_t i) const;
};

/// Where the points of a tile lie: of class [a][b] in rows of `step`, from `at` on.
template <class T>
struct WinogradPlaces {
  T* at[2][2];
  int64_t step[2][2];
};

/// Transforms one tile of kLanes channels: from[row][column][lane] (columns `row_step` / lanes) into
/// its points. `big_h`, `big_w`: whether it has the last ones. Interpolates data, or evaluates
/// `rows` x `columns` values.
void winograd_spread(const Kernels& kernel, WinogradTransform kind, const WinogradPlaces<float>& to,
                     const float* from, int64_t row_step, int rows, int columns,
                     const WinogradAxis& h, const WinogradAxis& w, bool big_h, bool big_w);

/// The way back: a tile's points into to[row][column][lane].
void winograd_collect(const Kernels& kernel, float* to, int64_t row_step,
                      const WinogradPlaces<const float>& from, int rows, int columns,
                      const WinogradAxis& h, const WinogradAxis& w, bool big_h, bool big_w);

/// Whether kernels and strides are those that these files know.
bool winograd_can_run(const Conv2dShape& s);

}  // namespace striate::cpu
