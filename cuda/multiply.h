// How a product is cut into tiles and slices, by its shape alone: the same bits on every GPU.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include "cuda/launch.h"
#include "cuda/tile.cuh"

namespace striate::cuda {

template <class... Tiles>
struct TileList {};

struct Plan {
  int tile = 0;  // in the list
  Work work;
  double cost = std::numeric_limits<double>::infinity();
  int rows = 0, columns = 0;  // of the tile

  /// "tf32 128x128"
  template <class Math>
  std::string algorithm() const {
    return std::string(Math::kName) + " " + std::to_string(rows) + "x" + std::to_string(columns);
  }
};

/// The sums' terms that one thread adds one by one: more are cut into slices, which are added in
/// double. Long sums over pixels keep their digits so.
constexpr int64_t kMostTerms = 1 << 15, kMostPixels = 1 << 12;
/// No slice is thinner, and there are no more of them: they are the y of a grid.
constexpr int64_t kLeastDepth = 64, kMostSlices = 65535;
/// Floats of scratch memory for slices that only serve to occupy the GPU.
constexpr int64_t kMostPartials = 1 << 24;

/// The GPU that plans are made for: a large one of today. Time is counted in products that one
/// multiprocessor makes in float32, about 5 ps, in which half a partial sum is written and read.
constexpr double kMultiprocessors = 132;

/// How long a plan takes: its products, by how well threads use what they load, and the elements of
/// its operands, in waves of blocks; then the slices, which are written, read and added.
template <class Tile, class Math>
double cost(const Work& work) {
  constexpr double kElement = 8, kPartial = 0.5, kLaunch = 500e3;  // 2 us
  constexpr int kThreadSums = Tile::kThreadRows * Tile::kThreadColumns;
  constexpr double kRate = kThreadSums >= 64 ? 1 : kThreadSums >= 32 ? 0.75 : 0.5;
  constexpr double kEach = Tile::kRows * Tile::kColumns / (kRate * Math::kSpeed) +  //
                           kElement * (Tile::kRows + Tile::kColumns);

  const double blocks = 1.0 * work.groups * work.row_tiles * work.column_tiles * work.slices;
  const double waves = std::floor(blocks / (kMultiprocessors * Tile::kBlocks));
  const double rest = std::ceil(blocks / kMultiprocessors) - waves * Tile::kBlocks;
  // Half of the threads keep a multiprocessor busy; fewer do not.
  const double turns = waves * Tile::kBlocks + (rest > 0 ? std::max(rest, 0.5 * Tile::kBlocks) : 0);
  const double sums = 1.0 * work.groups * work.rows * work.columns;
  const double adding = work.slices > 1 ? kPartial * work.slices * sums + kLaunch : 0;
  return turns * kEach * (work.slice_depth + Tile::kDepth) + adding;
}

template <class Tile, class Math>
Work cut(Work work, int64_t slices) {
  constexpr int64_t kDepth = Tile::kDepth * Math::kDeeper;
  const int64_t each = ((work.depth + slices - 1) / slices + kDepth - 1) / kDepth * kDepth;
  work.slice_depth = static_cast<int>(each);
  work.slices = static_cast<int>(each == 0 ? 1 : (work.depth + each - 1) / each);
  return work;
}

/// The cheapest tile of the list that `Math` has.
template <class Math, class... Tiles>
Plan make_plan(TileList<Tiles...>, int64_t rows, int64_t columns, int64_t depth, int64_t groups,
               int64_t most_terms) {
  Plan best;
  int index = 0;
  const auto consider = [&]<class Tile>(std::type_identity<Tile>) {
    const int mine = index++;
    if (Tile::kRows < Math::kLeastRows) return;
    Work work{.rows = rows, .columns = columns, .depth = depth, .groups = groups};
    work.row_tiles = static_cast<int>((rows + Tile::kRows - 1) / Tile::kRows);
    work.column_tiles = static_cast<int>((columns + Tile::kColumns - 1) / Tile::kColumns);
    const int64_t least =
        std::clamp<int64_t>((depth + most_terms - 1) / most_terms, 1, kMostSlices);
    const int64_t most =
        std::clamp(std::min(depth / kLeastDepth, kMostPartials / (groups * rows * columns)), least,
                   kMostSlices);
    for (int64_t slices = least; slices <= most; slices += (slices + 1) / 2) {
      const Work cut_work = cut<Tile, Math>(work, slices);
      const double its = cost<Tile, Math>(cut_work);
      if (its < best.cost) best = {mine, cut_work, its, Tile::kRows, Tile::kColumns};
    }
  };
  (consider(std::type_identity<Tiles>{}), ...);
  return best;
}

template <class Tile, class Math, class A, class B, class Store>
void multiply(const Op& op, const A& a, const B& b, const Store& store, Work work) {
  constexpr int64_t kMostGroups = 65535;  // in the z of a grid
  const int64_t sums = work.groups * work.rows * work.columns;
  const Scratch partials(work.slices > 1 ? work.slices * sums : 0);
  if (work.slices > 1) work.partials = partials.get();
  const auto tiles = static_cast<unsigned>(work.row_tiles * work.column_tiles);
  for (; work.first_group < work.groups; work.first_group += kMostGroups) {
    const int64_t groups = std::min(kMostGroups, work.groups - work.first_group);
    op.launch({{tiles, static_cast<unsigned>(work.slices), static_cast<unsigned>(groups)},
               Tile::kThreads,
               sizeof(typename Multiply<Tile, Math, A, B>::Shared)},
              multiply_kernel<Tile, Math, A, B, Store>, a, b, store, work);
  }
  if (work.slices == 1) return;
  const auto parts = static_cast<unsigned>(std::min(work.slices, kMostSliceRows));
  op.launch({blocks(sums, 32), {32, parts}, kMostSliceRows * 32 * sizeof(double)},
            add_slices_kernel<Store, Math>, store, work);
}

/// multiply() with the plan's tile.
template <class Math, class... Tiles, class A, class B, class Store>
void multiply(TileList<Tiles...>, const Plan& plan, const Op& op, const A& a, const B& b,
              const Store& store) {
  int index = 0;
  const auto run = [&]<class Tile>(std::type_identity<Tile>) {
    if constexpr (Tile::kRows >= Math::kLeastRows) {
      if (index++ == plan.tile) multiply<Tile, Math>(op, a, b, store, plan.work);
    } else {
      ++index;
    }
  };
  (run(std::type_identity<Tiles>{}), ...);
}

}  // namespace striate::cuda
