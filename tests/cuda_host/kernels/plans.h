// Products with the tile and the number of slices that a test wants, of which make_plan takes those
// that are the cheapest for a shape: the small ones for shapes that a test can afford.
#pragma once

#include <algorithm>
#include <type_traits>

#include "cuda/multiply.h"
#include "kernels.h"

namespace striate::kernel_tests {

/// `Math`, with plans of our own.
template <class Math>
struct Planned : Math {
  using Chosen = Math;
};

struct Choice {
  int tile = 0;  // in the list
  int64_t slices = 1;
  bool turned = false;  // gemm: the operands change places
};
inline Choice choice;
inline int plans_made = 0, most_slices = 0;

/// As many slices as there are panels.
constexpr int64_t kSlicePanels = 1 << 20;

/// A tile of a list, and how deep its panels are.
struct Listed {
  int index, rows, columns, depth;
};

/// Those that `Math` has.
template <class Math, class... Tiles>
std::vector<Listed> tiles_of(cuda::TileList<Tiles...>) {
  std::vector<Listed> result;
  int index = 0;
  const auto add = [&]<class Tile>(std::type_identity<Tile>) {
    if (Tile::kRows >= Math::kLeastRows) {
      result.push_back({index, Tile::kRows, Tile::kColumns, Tile::kDepth * Math::kDeeper});
    }
    ++index;
  };
  (add(std::type_identity<Tiles>{}), ...);
  return result;
}

}  // namespace striate::kernel_tests

namespace striate::cuda {

/// Found instead of the other make_plan, as the arithmetic is a Planned one.
template <class Math, class... Tiles>
  requires requires { typename Math::Chosen; }
Plan make_plan(TileList<Tiles...>, int64_t rows, int64_t columns, int64_t depth, int64_t groups,
               int64_t) {
  using namespace kernel_tests;
  Plan plan;
  int index = 0;
  const auto consider = [&]<class Tile>(std::type_identity<Tile>) {
    if (index++ != choice.tile) return;
    Work work{.rows = rows, .columns = columns, .depth = depth, .groups = groups};
    work.row_tiles = static_cast<int>((rows + Tile::kRows - 1) / Tile::kRows);
    work.column_tiles = static_cast<int>((columns + Tile::kColumns - 1) / Tile::kColumns);
    plan = {choice.tile, cut<Tile, Math>(work, choice.slices), 0, Tile::kRows, Tile::kColumns};
  };
  (consider(std::type_identity<Tiles>{}), ...);
  // gemm asks for a second plan, with its operands exchanged, and takes the cheaper one.
  ++plans_made;
  plan.cost = choice.turned ? -plans_made : plans_made;
  most_slices = std::max(most_slices, plan.work.slices);
  return plan;
}

}  // namespace striate::cuda
