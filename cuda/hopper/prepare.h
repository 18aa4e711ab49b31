// Operands as the copy engine and the matrix instructions want them: K-major, rows at multiples of
// 16 bytes, bf16 already rounded. A copy, where the caller's array is not so.
#pragma once

#include <hopper.cuh>
#include <memory>

#include "cuda/launch.h"

namespace striate::cuda::hopper {

/// The rows of op(A), or the columns of op(B), of K values each.
struct Rows {
  const float* data;
  int64_t rows, K, ld;
  bool along_k;  // a row's values are neighbours, and rows are ld apart; else it is the other way
};

/// Whether 16-byte loads can read each row.
inline bool aligned(const Rows& from) {
  return reinterpret_cast<uintptr_t>(from.data) % 16 == 0 && from.ld % 4 == 0;
}

/// tf32 is rounded by the copy engine, so that an array that stands right needs no copy.
template <class Operand>
bool needs_copy(const Rows& from) {
  return sizeof(typename Operand::Element) != sizeof(float) || !from.along_k || !aligned(from);
}

/// to[rows, pitch] = from, rounded to Operand::Element; zeros from K to pitch, a multiple of 8.
template <class Operand>
void copy_rows(const Op& op, typename Operand::Element* to, int64_t pitch, const Rows& from);

/// `from`, or a copy of it in scratch memory, and its tensor map.
template <class Operand>
class Prepared {
 public:
  using Element = typename Operand::Element;

  Prepared(const Op& op, const Rows& from, int tile_rows) {
    const Element* data = reinterpret_cast<const Element*>(from.data);
    int64_t pitch = from.ld;
    if (needs_copy<Operand>(from)) {
      pitch = (from.K + 7) / 8 * 8;
      copy_ = std::make_unique<Scratch>(from.rows * pitch * int64_t{sizeof(Element)} / 4);
      copy_rows<Operand>(op, copy_->as<Element>(), pitch, from);
      data = copy_->as<Element>();
    }
    op.check(make_tensor_map<Operand>(map_, data, from.rows, from.K, pitch, tile_rows));
  }
  const TensorMap& map() const { return map_; }

 private:
  std::unique_ptr<Scratch> copy_;
  TensorMap map_;
};

}  // namespace striate::cuda::hopper
