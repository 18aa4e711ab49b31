// Tiles of K-major operands in shared memory, and how the matrix instructions are told of them.
#pragma once

#include <hopper.cuh>

namespace striate::cuda::hopper {

/// 32 tf32 or 64 bf16 values of each row, swizzled.
template <int kRows>
struct alignas(1024) Tile {
  unsigned char bytes[kRows][kTileBytes];
};

constexpr int kBytesAtOnce = 32;  // of each row, by one matrix instruction: 8 tf32 or 16 bf16

/// The matrix descriptor of kBytesAtOnce of each row from `row`, a multiple of 8, and `byte`, a
/// multiple of kBytesAtOnce, on. The swizzle is of addresses, so byte is simply added.
template <int kRows>
__device__ __forceinline__ uint64_t operand(const Tile<kRows>& tile, int row, int byte) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62;
  constexpr uint64_t kEightRows = uint64_t{8 * kTileBytes / 16} << 32;  // to the next eight rows
  constexpr uint64_t kUnused = uint64_t{1} << 16;  // the step along K, beyond a swizzled row
  const uint64_t start = (shared_address(&tile.bytes[row][byte]) & 0x3ffff) >> 4;
  return kSwizzle128 | kEightRows | kUnused | start;
}

}  // namespace striate::cuda::hopper
