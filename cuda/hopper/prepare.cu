// Copies of operands, K-major: one pass over memory, eight values a thread where rows are read
// along, tiles through shared memory where they are transposed. bf16 is rounded here, to nearest,
// ties to even; tf32 by the copy engine that reads the copy.
#include <shared.cuh>

#include "cuda/hopper/prepare.h"

namespace striate::cuda::hopper {
namespace {

constexpr int kThreads = 256, kWarpSize = 32;

__device__ unsigned round_to_bf16(float value) {
  const unsigned bits = __float_as_uint(value);
  if (value != value) return bits >> 16 | 0x40;  // it would round to infinity, or to zero
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// Neighbours along K, in one store.
__device__ void store_two(float* to, float first, float second) {
  *reinterpret_cast<float2*>(to) = make_float2(first, second);
}
__device__ void store_two(uint16_t* to, float first, float second) {
  *reinterpret_cast<unsigned*>(to) = round_to_bf16(first) | round_to_bf16(second) << 16;
}

// A thread copies eight values of a row.
template <class Operand>
__global__ void __launch_bounds__(kThreads)
    copy_rows_kernel(typename Operand::Element* to, int64_t pitch, Rows from, bool vectors) {
  constexpr int kValues = 8;
  const int64_t pieces = pitch / kValues, i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t row = i / pieces, k = (i - row * pieces) * kValues;
  if (row >= from.rows) return;
  const float* const source = from.data + row * from.ld + k;
  float values[kValues];
  if (vectors && k + kValues <= from.K) {
    for (int j = 0; j < kValues; j += 4) {
      const float4 four = *reinterpret_cast<const float4*>(source + j);
      values[j] = four.x, values[j + 1] = four.y, values[j + 2] = four.z, values[j + 3] = four.w;
    }
  } else {
    for (int j = 0; j < kValues; ++j) values[j] = k + j < from.K ? source[j] : 0;
  }
  typename Operand::Element* const target = to + row * pitch + k;
  for (int j = 0; j < kValues; j += 2) store_two(target + j, values[j], values[j + 1]);
}

// A block copies kDeep values of kWide rows. A warp reads kWide neighbours of one k, and writes
// kDeep neighbours of one row; the column of padding keeps the latter's reads to two a bank.
constexpr int kWide = kWarpSize, kDeep = 2 * kWarpSize;

struct TransposeMemory {
  float values[kDeep][kWide + 1];
};

template <class Operand>
__global__ void __launch_bounds__(kThreads)
    transpose_kernel(typename Operand::Element* to, int64_t pitch, Rows from) {
  constexpr int kWarps = kThreads / kWarpSize;
  auto& memory = shared_memory<TransposeMemory>();
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  const int64_t across = (from.rows + kWide - 1) / kWide, down = blockIdx.x / across;
  const int64_t row = (blockIdx.x - down * across) * kWide, k = down * kDeep;
  for (int i = warp; i < kDeep; i += kWarps) {
    const bool inside = k + i < from.K && row + lane < from.rows;
    memory.values[i][lane] = inside ? from.data[(k + i) * from.ld + row + lane] : 0;
  }
  __syncthreads();
  for (int i = warp; i < kWide; i += kWarps) {
    if (row + i >= from.rows || k + 2 * lane >= pitch) continue;
    store_two(to + (row + i) * pitch + k + 2 * lane, memory.values[2 * lane][i],
              memory.values[2 * lane + 1][i]);
  }
}

}  // namespace

template <class Operand>
void copy_rows(const Op& op, typename Operand::Element* to, int64_t pitch, const Rows& from) {
  if (from.along_k) {
    op.launch({blocks(from.rows * (pitch / 8), kThreads), kThreads}, copy_rows_kernel<Operand>, to,
              pitch, from, aligned(from));
  } else {
    const int64_t tiles = (from.rows + kWide - 1) / kWide * ((pitch + kDeep - 1) / kDeep);
    op.launch({blocks(tiles, 1), kThreads, sizeof(TransposeMemory)}, transpose_kernel<Operand>, to,
              pitch, from);
  }
}

template void copy_rows<Tf32>(const Op&, float*, int64_t, const Rows&);
template void copy_rows<Bf16>(const Op&, uint16_t*, int64_t, const Rows&);

}  // namespace striate::cuda::hopper
