// One engine for every product: sums[row, column] = sum over depth of a[row, depth] b[depth, column].
// A block makes one tile of sums. The operands come from readers, which know where a matrix lies, or
// which pixel a convolution sees, and hand over panels in shared memory; `Math` multiplies panels
// (float32.cuh, tensor/tensor_core.cuh); a store knows where the sums go (store.cuh).
//
// Panels are double: while the block multiplies one, the loads of the next are under way in registers.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <shared.cuh>

namespace striate::cuda {

/// A block's tile of sums, each thread's part of it, and the depth of float32's panels.
template <int Rows, int Columns, int ThreadRows, int ThreadColumns, int Depth>
struct Tile {
  static constexpr int kRows = Rows, kColumns = Columns, kDepth = Depth;
  static constexpr int kThreadRows = ThreadRows, kThreadColumns = ThreadColumns;
  static constexpr int kThreads = Rows / ThreadRows * (Columns / ThreadColumns);
  // Of a multiprocessor: with 128 registers for a thread, or 168 if it needs as many.
  static constexpr int kBlocks =
      Columns > Rows && ThreadRows * ThreadColumns == 64 ? 384 / kThreads : 512 / kThreads;
};

/// An operand's part in shared memory: rows of neighbours, each of one depth. A word holds
/// Math::kPack values, neighbours in depth. Math::kPadding lets lanes that read or write at once meet
/// different banks.
template <class Math, int Width, int Depth>
struct Panel {
  static constexpr int kWidth = Width, kDepth = Depth, kWords = Depth / Math::kPack;
  static constexpr int kStride = Width + Math::kPadding;
  using Word = typename Math::Word;
  alignas(16) Word words[kWords * kStride];

  /// `depth` in words.
  __device__ Word* at(int depth, int column) { return words + depth * kStride + column; }
};

/// The problem and how it is cut: see multiply.h.
struct Work {
  int64_t rows = 0, columns = 0, depth = 0, groups = 1;
  int row_tiles = 1, column_tiles = 1;
  int slices = 1, slice_depth = 0;  // the sum is cut, too, if there are few tiles
  int64_t first_group = 0;          // of this launch
  float* partials = nullptr;        // [slices, groups, rows, columns] if there are many slices
};

/// Where a reader begins, and the depth that it reads.
struct Corner {
  int64_t group, first, begin;
  int depth;
};

/// Where a block's tile is. Tiles are counted in bands of up to 8 rows of them, down before across:
/// blocks that run together share what they read in L2.
struct TilePlace {
  int row, column;

  __device__ TilePlace(int index, const Work& work) {
    constexpr int kBand = 8;
    const int band = work.row_tiles <= kBand ? 0 : index / (kBand * work.column_tiles);
    const int within = index - band * kBand * work.column_tiles;
    const int high = min(kBand, work.row_tiles - band * kBand);
    column = within / high;
    row = band * kBand + within - column * high;
  }
};

/// Writes sums of a slice, to be added to those of the other slices.
class PartialWriter {
 public:
  __device__ PartialWriter(const Work& work, int64_t slice, int64_t group, int64_t row,
                           int64_t column)
      : to_(work.partials +
            (((slice * work.groups + group) * work.rows + row) * work.columns + column)),
        stride_(work.columns),
        rows_(static_cast<int>(min(work.rows - row, int64_t{1} << 20))),
        columns_(static_cast<int>(min(work.columns - column, int64_t{1} << 20))) {}

  template <int kRun>
  __device__ int columns(int column) const {
    return column;
  }

  template <int kRun>
  __device__ void put(int column, int row, const float* sums) const {
    if (row >= rows_) return;
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      if (column + i < columns_) to_[row * stride_ + column + i] = sums[i];
    }
  }

 private:
  float* to_;
  int64_t stride_;
  int rows_, columns_;
};

template <class Tile, class Math, class A, class B>
struct Multiply {
  static constexpr int kDepth = Tile::kDepth * Math::kDeeper;
  using PanelA = Panel<Math, Tile::kRows, kDepth>;
  using PanelB = Panel<Math, Tile::kColumns, kDepth>;
  using ReaderA = typename A::template Reader<Math, PanelA, Tile::kThreads>;
  using ReaderB = typename B::template Reader<Math, PanelB, Tile::kThreads>;
  using Product = typename Math::template Product<Tile, PanelA, PanelB>;

  struct Shared {
    PanelA a[2];
    PanelB b[2];
    typename ReaderA::Shared reader_a;
    typename ReaderB::Shared reader_b;
  };
};

/// Readers prepare what they keep in shared memory for a depth; then, after a barrier, fetch it into
/// registers, and put that into a panel.
template <class Tile, class Math, class A, class B, class Store>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    multiply_kernel(const A a, const B b, const Store store, const Work work) {
  using Types = Multiply<Tile, Math, A, B>;
  constexpr int kDepth = Types::kDepth;
  auto& shared = shared_memory<typename Types::Shared>();
  const TilePlace tile(static_cast<int>(blockIdx.x), work);
  const int64_t row = int64_t{tile.row} * Tile::kRows;
  const int64_t column = int64_t{tile.column} * Tile::kColumns;
  const int64_t group = work.first_group + blockIdx.z;
  const int64_t begin = int64_t{blockIdx.y} * work.slice_depth;
  const int depth = static_cast<int>(min(int64_t{work.slice_depth}, work.depth - begin));

  typename Types::ReaderA reader_a(a, shared.reader_a, {group, row, begin, depth});
  typename Types::ReaderB reader_b(b, shared.reader_b, {group, column, begin, depth});
  typename Types::Product product;
  reader_a.prepare(0);
  reader_b.prepare(0);
  __syncthreads();
  reader_a.fetch(0);
  reader_b.fetch(0);
  reader_a.prepare(kDepth);
  reader_b.prepare(kDepth);
  reader_a.put(shared.a[0]);
  reader_b.put(shared.b[0]);
  __syncthreads();

  for (int d = 0, now = 0;; d += kDepth, now ^= 1) {
    const bool more = d + kDepth < depth;
    if (more) {
      reader_a.fetch(d + kDepth);
      reader_b.fetch(d + kDepth);
      reader_a.prepare(d + 2 * kDepth);
      reader_b.prepare(d + 2 * kDepth);
    }
    product.multiply(shared.a[now], shared.b[now]);
    if (!more) break;
    reader_a.put(shared.a[now ^ 1]);
    reader_b.put(shared.b[now ^ 1]);
    __syncthreads();
  }

  if (work.partials == nullptr) {
    product.write(typename Store::Writer(store, group, row, column));
  } else {
    product.write(PartialWriter(work, blockIdx.y, group, row, column));
  }
}

constexpr int kMostSliceRows = 32;

/// Adds the slices in their order, and stores the sums. Threads: 32 sums x up to 32 parts of the
/// slices. (Each `Math` has its own: they are built for different GPUs.)
template <class Store, class Math>
__global__ void add_slices_kernel(const Store store, const Work work) {
  struct Shared {
    double sums[kMostSliceRows][32];
  };
  auto& shared = shared_memory<Shared>();
  const int64_t count = work.groups * work.rows * work.columns;
  const int64_t i = int64_t{blockIdx.x} * 32 + threadIdx.x;
  double sum = 0;
  if (i < count) {
#pragma unroll 8
    for (int slice = threadIdx.y; slice < work.slices; slice += blockDim.y) {
      sum += __ldg(work.partials + slice * count + i);
    }
  }
  shared.sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || i >= count) return;
  for (unsigned part = 1; part < blockDim.y; ++part) sum += shared.sums[part][threadIdx.x];

  const int64_t row = i / work.columns, group = row / work.rows;
  const typename Store::Writer writer(store, group, row - group * work.rows,
                                      i - row * work.columns);
  const float rounded = static_cast<float>(sum);
  writer.template put<1>(writer.template columns<1>(0), 0, &rounded);
}

}  // namespace striate::cuda
