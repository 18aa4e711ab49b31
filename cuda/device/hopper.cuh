// Hopper's copy engine (TMA) and warpgroup matrix instructions (wgmma, compute capability 9.0a), as
// far as a GEMM of K-major operands needs them. (tests/cuda_host has the same names for kernels on
// the host.)
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

namespace striate::cuda::hopper {

constexpr int kTileBytes = 128;  // of a row of a tile in shared memory, see cuda/hopper/tile.cuh

/// Operands of the matrix instructions. float32 is rounded to tf32 by the copy engine, to nearest:
/// the matrix instructions themselves would cut the low 13 bits off, which biases every product
/// towards zero. The manuals do not say how it rounds; others measured ties to even, on a GPU of
/// compute capability 12.0. (A NaN that is one by these 13 bits alone, which no arithmetic makes,
/// becomes infinite.)
struct Tf32 {
  using Element = float;
  static constexpr CUtensorMapDataType kType = CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
  static constexpr char kShape[] = "k8.f32.tf32.tf32";
  static constexpr char kSigns[] = "1, 1";
};
struct Bf16 {
  using Element = uint16_t;
  static constexpr CUtensorMapDataType kType = CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
  static constexpr char kShape[] = "k16.f32.bf16.bf16";
  static constexpr char kSigns[] = "1, 1, 0, 0";  // and: both are K-major
};
template <class Operand>
constexpr int kTileDepth = kTileBytes / static_cast<int>(sizeof(typename Operand::Element));

// ---- Tensor maps: what the copy engine knows of a matrix.

using TensorMap = CUtensorMap;  // a kernel takes it as const __grid_constant__

/// A matrix of rows x columns, `pitch` elements from row to row, copied in tiles of `tile_rows`.
/// data and the pitch are multiples of 16 bytes. What a tile has beyond the matrix is zeros.
/// In shared memory, where tiles start at a multiple of 1024 bytes, the 16-byte piece p of row r
/// stands at p ^ (r % 8): the 128-byte swizzle.
template <class Operand>
cudaError_t make_tensor_map(TensorMap& map, const typename Operand::Element* data, int64_t rows,
                            int64_t columns, int64_t pitch, int tile_rows) {
  // By its address, so that nothing links the driver.
  static const auto encode = [] {
    void* address = nullptr;
    cudaDriverEntryPointQueryResult found;
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &address,
                                                               12000, cudaEnableDefault, &found);
    const bool usable = error == cudaSuccess && found == cudaDriverEntryPointSuccess;
    return usable ? reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(address) : nullptr;
  }();
  if (encode == nullptr) return cudaErrorNotSupported;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(pitch) * sizeof *data};
  const cuuint32_t box[] = {kTileDepth<Operand>, static_cast<cuuint32_t>(tile_rows)};
  const cuuint32_t steps[] = {1, 1};
  const CUresult result =
      encode(&map, Operand::kType, 2, const_cast<typename Operand::Element*>(data), sizes, strides,
             box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

// ---- Barriers in shared memory, which count arrivals and bytes.

struct Barrier {
  uint64_t state;
};

/// In the block's shared memory, in bytes.
__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

/// A phase of `barrier` ends with its `arrivals`-th arrival, when no bytes are awaited either.
__device__ __forceinline__ void initialise(Barrier& barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;"
               :
               : "r"(shared_address(&barrier)), "r"(arrivals)
               : "memory");
}

/// After initialise, before the block's barrier: shows it to the copy engine.
__device__ __forceinline__ void publish_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

__device__ __forceinline__ void arrive(Barrier& barrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];"
               :
               : "r"(shared_address(&barrier))
               : "memory");
}

/// Arrives, and lets the phase wait for `bytes` from the copy engine, too.
__device__ __forceinline__ void arrive_expecting(Barrier& barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;"
               :
               : "r"(shared_address(&barrier)), "r"(bytes)
               : "memory");
}

/// Until the phase of that parity has ended: phases 0, 1, 2, ... have the parities 0, 1, 0, ...; of
/// a new barrier, the phase before the first counts as ended.
__device__ __forceinline__ void wait(Barrier& barrier, unsigned parity) {
  unsigned ended = 0;
  do {
    asm volatile(
        "{\n"
        ".reg .pred ended;\n"
        "mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 ended, [%1], %2;\n"
        "selp.u32 %0, 1, 0, ended;\n"
        "}"
        : "=r"(ended)
        : "r"(shared_address(&barrier)), "r"(parity)
        : "memory");
  } while (ended == 0);
}

/// One thread: starts the copy of the tile whose first element is (row, column); its bytes, zeros
/// included, count for `barrier`.
__device__ __forceinline__ void load(void* tile, const TensorMap& map, Barrier& barrier, int row,
                                     int column) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4}], [%2];"
      :
      : "r"(shared_address(tile)), "l"(&map), "r"(shared_address(&barrier)), "r"(column), "r"(row)
      : "memory");
}

// ---- Registers of a thread: a warpgroup leaves some, another one takes them.

/// All threads of the warpgroup, each kind at one place of the kernel. kCount: a multiple of 8.
template <int kCount>
__device__ __forceinline__ void leave_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

// ---- Matrix instructions: the four warps of a warpgroup multiply 64 rows by kColumns.
//
// Lane l of warp w holds of the product, for every j, rows 16 w + l / 4 (+ 8), columns
// 8 j + 2 (l % 4) (+ 1): sum[4 j], sum[4 j + 1], and, of the row + 8, sum[4 j + 2], sum[4 j + 3].

/// The registers of a sum are written before what follows, and read after what precedes.
template <int kCount>
__device__ __forceinline__ void pin(float (&sum)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(sum[i])::"memory");
}

/// Before the first product, and after other instructions have written the sum.
__device__ __forceinline__ void begin_products() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Ends a group of products, which then run.
__device__ __forceinline__ void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Until all but the last kPending groups have ended.
template <int kPending>
__device__ __forceinline__ void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// An instruction names each of its registers.
#define STRIATE_TEN_REGISTERS(t)                                                         \
  "%" #t "0, %" #t "1, %" #t "2, %" #t "3, %" #t "4, %" #t "5, %" #t "6, %" #t "7, %" #t \
  "8"                                                                                    \
  ", %" #t "9, "
#define STRIATE_FOUR_SUMS(i) "+f"(sum[i]), "+f"(sum[i + 1]), "+f"(sum[i + 2]), "+f"(sum[i + 3])
#define STRIATE_SIXTEEN_SUMS(i)                                             \
  STRIATE_FOUR_SUMS(i), STRIATE_FOUR_SUMS(i + 4), STRIATE_FOUR_SUMS(i + 8), \
      STRIATE_FOUR_SUMS(i + 12)
#define STRIATE_64_SUMS(i)                                                             \
  STRIATE_SIXTEEN_SUMS(i), STRIATE_SIXTEEN_SUMS(i + 16), STRIATE_SIXTEEN_SUMS(i + 32), \
      STRIATE_SIXTEEN_SUMS(i + 48)

/// sum += a b^T, over 32 bytes of K, 128 columns: starts it. a and b are matrix descriptors.
template <class Operand>
__device__ __forceinline__ void multiply(float (&sum)[64], uint64_t a, uint64_t b) {
  asm volatile(
      "{\n"
      ".reg .pred add;\n"
      "setp.eq.b32 add, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128%66 {"  //
      STRIATE_TEN_REGISTERS() STRIATE_TEN_REGISTERS(1) STRIATE_TEN_REGISTERS(2)
      STRIATE_TEN_REGISTERS(3) STRIATE_TEN_REGISTERS(4) STRIATE_TEN_REGISTERS(5)
      "%60, %61, %62, %63}, %64, %65, add, %67;\n"
      "}"
      : STRIATE_64_SUMS(0)
      : "l"(a), "l"(b), "C"(Operand::kShape), "C"(Operand::kSigns));
}

/// The same, 256 columns.
template <class Operand>
__device__ __forceinline__ void multiply(float (&sum)[128], uint64_t a, uint64_t b) {
  asm volatile(
      "{\n"
      ".reg .pred add;\n"
      "setp.eq.b32 add, 0, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256%130 {"  //
      STRIATE_TEN_REGISTERS() STRIATE_TEN_REGISTERS(1) STRIATE_TEN_REGISTERS(2)
      STRIATE_TEN_REGISTERS(3) STRIATE_TEN_REGISTERS(4) STRIATE_TEN_REGISTERS(5)
      STRIATE_TEN_REGISTERS(6) STRIATE_TEN_REGISTERS(7) STRIATE_TEN_REGISTERS(8)
      STRIATE_TEN_REGISTERS(9) STRIATE_TEN_REGISTERS(10) STRIATE_TEN_REGISTERS(11)
      "%120, %121, %122, %123, %124, %125, %126, %127}, %128, %129, add, %131;\n"
      "}"
      : STRIATE_64_SUMS(0), STRIATE_64_SUMS(64)
      : "l"(a), "l"(b), "C"(Operand::kShape), "C"(Operand::kSigns));
}

#undef STRIATE_TEN_REGISTERS
#undef STRIATE_FOUR_SUMS
#undef STRIATE_SIXTEEN_SUMS
#undef STRIATE_64_SUMS

}  // namespace striate::cuda::hopper
