// Softmax's rows, wherever their classes stand in (outer, classes, inner), in blocks for threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu/parallel.h"
#include "cpu/trace.h"
#include "striate/softmax.h"

namespace striate::cpu {

constexpr int64_t kBlockRows = 256;

/// Rows that lie one behind the other (inner == 1) or side by side, in one outer index.
struct RowBlock {
  int64_t index;  // of the block
  int64_t row;    // the first one, counted in (outer, inner)
  int64_t rows;   // at most kBlockRows
  int64_t start;  // place of the first row's first class
};

/// How many blocks there are; their limits depend on the sizes only.
inline int64_t row_blocks(const SoftmaxSizes& s) {
  const int64_t outer = s.inner == 1 ? 1 : s.outer, rows = s.inner == 1 ? s.outer : s.inner;
  return s.classes == 0 ? 0 : outer * ((rows + kBlockRows - 1) / kBlockRows);
}

/// A line for STRIATE_VERBOSE; `arrays`: how many of these sizes are read and written.
inline Trace traced(const char* op, const SoftmaxSizes& s, int arrays) {
  return {op,
          {{"outer", s.outer}, {"classes", s.classes}, {"inner", s.inner}},
          {.bytes = 4.0 * arrays * s.outer * s.classes * s.inner}};
}

/// Calls body(block) for every block, in parallel.
template <class Body>
void for_each_row_block(const SoftmaxSizes& s, const Body& body) {
  const int64_t blocks = row_blocks(s);
  if (blocks == 0) return;
  const int64_t rows = s.inner == 1 ? s.outer : s.inner;
  const int64_t in_outer = (rows + kBlockRows - 1) / kBlockRows;
  const int64_t elements = std::min(rows, kBlockRows) * s.classes;
  const int64_t grain = std::max<int64_t>(1, 4096 / elements);  // some microseconds of exp
  parallel_for(blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t o = i / in_outer, first = i % in_outer * kBlockRows;
      body(RowBlock{.index = i,
                    .row = o * rows + first,
                    .rows = std::min(kBlockRows, rows - first),
                    .start = o * s.classes * s.inner + first * (s.inner == 1 ? s.classes : 1)});
    }
  });
}

}  // namespace striate::cpu
