// gemm by Hopper's copy engine and matrix instructions. Both operands are K-major (prepare.h), so
// that one kernel does all transpositions.
//
// A block has 128 rows and kColumns columns of C at a time. One thread of its last warpgroup lets
// the copy engine fill a ring of stages, each 128 bytes of K of both operands; two warpgroups
// multiply them, 64 rows each, with the sums in registers. Of each stage one barrier says that it
// is full, another that every warp has read it. There are as many blocks as multiprocessors, which
// go on to further tiles: the copies for the next one run while the last one is written.
//
// Numerics: operands rounded to tf32 or bf16, exact products, float32 sums. Where C has few tiles,
// the sum is split, and a second kernel adds the parts in order. The shape alone decides how.
#include <algorithm>
#include <hopper.cuh>
#include <shared.cuh>

#include "cuda/hopper/gemm.h"
#include "cuda/hopper/output.cuh"
#include "cuda/hopper/prepare.h"
#include "cuda/hopper/tile.cuh"
#include "cuda/hopper/work.cuh"
#include "cuda/launch.h"

namespace striate::cuda {
namespace hopper {
namespace {

constexpr int kWarpSize = 32, kWarpgroup = 128, kGroupRows = 64;  // of one matrix instruction
static_assert(kTileRows == 2 * kGroupRows);
constexpr int kConsumers = 2 * kWarpgroup;  // threads that multiply
// One thread copies. It has a warpgroup of its own, which gives its registers to the others.
constexpr int kThreads = kConsumers + kWarpgroup;
constexpr int kConsumerRegisters = 232, kProducerRegisters = 40;

template <int kColumns>
struct Stages {
  static constexpr int kBytes = sizeof(Tile<kTileRows>) + sizeof(Tile<kColumns>);
  static constexpr int kCount = (192 << 10) / kBytes;
  Tile<kTileRows> a[kCount];
  Tile<kColumns> b[kCount];
  Barrier full[kCount], empty[kCount];
};

// A position in the ring, and the parity of the phase in which it is filled.
template <int kCount>
struct Position {
  int stage = 0;
  unsigned parity = 0;
  __device__ void advance() {
    if (++stage == kCount) stage = 0, parity ^= 1;
  }
};

// One thread: keeps the ring full.
template <class Operand, int kColumns>
__device__ void produce(Stages<kColumns>& stages, const TensorMap& a, const TensorMap& b,
                        const Work& work) {
  Position<Stages<kColumns>::kCount> at;
  for (int i = blockIdx.x; i < work.pieces(); i += gridDim.x) {
    const Piece piece = work.piece(i, kColumns);
    for (int step = piece.first; step < piece.end; ++step, at.advance()) {
      const int k = step * kTileDepth<Operand>;
      Barrier& full = stages.full[at.stage];
      wait(stages.empty[at.stage], at.parity ^ 1);
      arrive_expecting(full, Stages<kColumns>::kBytes);
      load(&stages.a[at.stage], a, full, piece.m, k);
      load(&stages.b[at.stage], b, full, piece.n, k);
    }
  }
}

// The two warpgroups: 64 rows of each tile.
template <class Operand, int kColumns>
__device__ void consume(Stages<kColumns>& stages, const Work& work, const Output& out) {
  const int warp = threadIdx.x / kWarpSize, lane = threadIdx.x % kWarpSize;
  const int group_row = static_cast<int>(threadIdx.x) / kWarpgroup * kGroupRows;
  Position<Stages<kColumns>::kCount> at;
  for (int i = blockIdx.x; i < work.pieces(); i += gridDim.x) {
    const Piece piece = work.piece(i, kColumns);
    float sum[kColumns / 2] = {};
    pin(sum);
    int before = 0;
    for (int step = piece.first; step < piece.end; ++step, at.advance()) {
      wait(stages.full[at.stage], at.parity);
      begin_products();
#pragma unroll
      for (int byte = 0; byte < kTileBytes; byte += kBytesAtOnce) {
        multiply<Operand>(sum, operand(stages.a[at.stage], group_row, byte),
                          operand(stages.b[at.stage], 0, byte));
      }
      commit_products();
      wait_for_products<1>();  // of the step before
      if (step > piece.first && lane == 0) arrive(stages.empty[before]);
      before = at.stage;
    }
    wait_for_products<0>();
    pin(sum);
    if (lane == 0) arrive(stages.empty[before]);

    write(out, out.C + piece.split * out.split_stride, sum, piece.m + warp * 16 + lane / 4,
          piece.n + lane % 4 * 2);
  }
}

template <class Operand, int kColumns>
__global__ void __launch_bounds__(kThreads, 1)
    product_kernel(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
                   Work work, Output out) {
  auto& stages = shared_memory<Stages<kColumns>>();
  if (threadIdx.x == 0) {
    for (int i = 0; i < Stages<kColumns>::kCount; ++i) {
      initialise(stages.full[i], 1);
      initialise(stages.empty[i], kConsumers / kWarpSize);
    }
    publish_barriers();
  }
  __syncthreads();
  if (threadIdx.x < kConsumers) {
    take_registers<kConsumerRegisters>();
    consume<Operand>(stages, work, out);
  } else {
    leave_registers<kProducerRegisters>();
    if (threadIdx.x == kConsumers) produce<Operand>(stages, a, b, work);
  }
}

constexpr int kSumThreads = 256;

// The parts of split sums, in order: a thread for each element of C.
__global__ void __launch_bounds__(kSumThreads)
    add_splits_kernel(Output out, const float* parts, int64_t pitch, int64_t stride, int splits) {
  const int m = blockIdx.y, n = blockIdx.x * kSumThreads + threadIdx.x;
  if (n >= out.N) return;
  float sum = 0;
  for (int i = 0; i < splits; ++i) sum += parts[i * stride + m * pitch + n];
  const int64_t at = m * out.ldc + n;
  out.apply(out.C, [&](auto visit) { visit(sum, at, n); });
  out.C[at] = sum;
}

template <class Operand, int kColumns>
void run(const Op& op, const GemmShape& s, const float* A, const float* B, Output out) {
  const Work work = cut(s, kColumns, kTileDepth<Operand>);
  const Prepared<Operand> a(op, {A, s.M, s.K, s.lda, !s.trans_a}, kTileRows);
  const Prepared<Operand> b(op, {B, s.N, s.K, s.ldb, s.trans_b}, kColumns);
  const unsigned count = static_cast<unsigned>(std::min(work.pieces(), multiprocessors()));
  const Grid grid{count, kThreads, sizeof(Stages<kColumns>)};
  if (work.splits == 1) {
    op.launch(grid, product_kernel<Operand, kColumns>, a.map(), b.map(), work, out);
    return;
  }
  const int64_t pitch = s.N + s.N % 2, stride = s.M * pitch;
  const Scratch parts(work.splits * stride);
  const Output part{parts.get(), pitch, stride, out.M, out.N, nullptr, 1, 0, false, true};
  op.launch(grid, product_kernel<Operand, kColumns>, a.map(), b.map(), work, part);
  op.launch({{blocks(s.N, kSumThreads), static_cast<unsigned>(s.M)}, kSumThreads},
            add_splits_kernel, out, parts.get(), pitch, stride, work.splits);
}

// Wide tiles read each operand less often; narrow ones are more, where there would be too few.
template <class Operand>
void run(const Op& op, const GemmShape& s, const float* A, const float* B, const Output& out) {
  constexpr int kWide = 256, kNarrow = 128;
  const bool wide = int64_t{tiles(s.M, kTileRows)} * tiles(s.N, kWide) >= kBlocksAtOnce;
  wide ? run<Operand, kWide>(op, s, A, B, out) : run<Operand, kNarrow>(op, s, A, B, out);
}

}  // namespace
}  // namespace hopper

void hopper_gemm(float* C, const float* A, const float* B, const float* bias, bool relu,
                 float alpha, float beta, const GemmShape& s, Precision p) {
  const bool tf32 = p == Precision::tf32;
  const double M = s.M, N = s.N, K = s.K;
  const Op op("gemm",
              {{"M", s.M}, {"N", s.N}, {"K", s.K}, {"trans_a", s.trans_a}, {"trans_b", s.trans_b}},
              {.flop = 2 * M * N * K, .bytes = 4 * (M * K + K * N + M * N)},
              tf32 ? "tf32 wgmma" : "bf16 wgmma");
  const bool pairs =
      reinterpret_cast<uintptr_t>(C) % sizeof(float2) == 0 && s.ldc % 2 == 0 && s.N % 2 == 0;
  const hopper::Output out{
      C, s.ldc, 0, static_cast<int>(s.M), static_cast<int>(s.N), bias, alpha, beta, relu, pairs};
  tf32 ? hopper::run<hopper::Tf32>(op, s, A, B, out) : hopper::run<hopper::Bf16>(op, s, A, B, out);
}

}  // namespace striate::cuda
