// multiply_matrices_in<Math>, for the files that make it for an arithmetic.
#pragma once

#include "cuda/gemm.h"
#include "cuda/multiply.h"
#include "cuda/operand.cuh"
#include "cuda/store.cuh"

namespace striate::cuda {

// Flat ones for a matrix of few rows; one of few columns is transposed.
using MatrixTiles = TileList<Tile<128, 128, 8, 8, 8>, Tile<64, 64, 8, 4, 8>,
                             Tile<16, 128, 4, 4, 16>, Tile<8, 128, 4, 4, 16>>;

/// op(A) or op(B): `width` is what is not summed over, `depth` what is.
struct Operand {
  const float* data;
  int64_t stride, width, depth;
  bool depth_contiguous;

  bool in_fours() const { return cuda::in_fours(data, stride, depth_contiguous ? depth : width); }
};

template <int kVector, class Call>
void with_reader(const Operand& m, const Call& call) {
  if (m.depth_contiguous) {
    call(DepthContiguous<kVector>{m.data, m.stride, m.width, 0});
  } else {
    call(WidthContiguous<kVector>{m.data, m.stride, m.width, 0});
  }
}

template <class Math>
void multiply_matrices_in(const char* name, std::initializer_list<Op::Size> sizes,
                          const MatrixProduct& product) {
  const GemmShape& s = product.shape;
  Operand a{product.A, s.lda, s.M, s.K, !s.trans_a}, b{product.B, s.ldb, s.N, s.K, s.trans_b};
  MatrixStore store{.C = product.C,
                    .rows = s.M,
                    .columns = s.N,
                    .row_stride = s.ldc,
                    .column_stride = 1,
                    .vectors = in_fours(product.C, s.ldc, s.N),
                    .alpha = product.alpha,
                    .beta = product.beta,
                    .bias = product.bias,
                    .relu = product.relu};
  Plan plan = make_plan<Math>(MatrixTiles{}, s.M, s.N, s.K, 1, kMostTerms);
  const Plan turned = make_plan<Math>(MatrixTiles{}, s.N, s.M, s.K, 1, kMostTerms);
  if (turned.cost < plan.cost) {
    plan = turned;
    std::swap(a, b);
    std::swap(store.rows, store.columns);
    std::swap(store.row_stride, store.column_stride);
    store.bias_of_rows = true;
    store.vectors = false;
  }

  const std::string algorithm = plan.template algorithm<Math>();
  const Op op(name, sizes,
              {.flop = 2.0 * s.M * s.N * s.K, .bytes = 4.0 * (s.M * s.K + s.K * s.N + s.M * s.N)},
              algorithm.c_str());
  const auto run = [&](const auto& reader_a, const auto& reader_b) {
    multiply<Math>(MatrixTiles{}, plan, op, reader_a, reader_b, store);
  };
  if (a.in_fours() && b.in_fours()) {
    with_reader<4>(a, [&](const auto& left) {
      with_reader<4>(b, [&](const auto& right) { run(left, right); });
    });
  } else {
    with_reader<1>(a, [&](const auto& left) {
      with_reader<1>(b, [&](const auto& right) { run(left, right); });
    });
  }
}

}  // namespace striate::cuda
