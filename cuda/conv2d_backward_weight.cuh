// conv2d's gradient of w: dy[K, (n, p, q)] x what each output pixel sees, transposed
// [(n, p, q), (c, r, s)], in each group. The sums are long, and cut into slices.
#pragma once

#include "cuda/conv2d_gemm.h"
#include "cuda/im2col.cuh"
#include "cuda/multiply.h"
#include "cuda/operand.cuh"
#include "cuda/store.cuh"

namespace striate::cuda {

using WeightTiles =
    TileList<Tile<128, 128, 8, 8, 8>, Tile<64, 64, 8, 4, 8>, Tile<16, 32, 4, 4, 16>>;

template <class Math>
void gemm_conv2d_backward_weight(float* dw, const float* dy, const float* x, const Conv2dShape& s) {
  const int64_t K = s.K / s.G, CRS = s.CRS(), PQ = s.PQ();
  const Plan plan = make_plan<Math>(WeightTiles{}, K, CRS, s.N * PQ, s.G, kMostPixels);
  const std::string algorithm = plan.template algorithm<Math>();
  const Op op = conv2d_op("conv2d_backward_weight", s, algorithm.c_str());
  const PixelsByTaps seen{images_of(x, s)};
  const MatrixStore store{.C = dw,
                          .rows = K,
                          .columns = CRS,
                          .row_stride = CRS,
                          .column_stride = 1,
                          .group_stride = K * CRS,
                          .vectors = in_fours(dw, CRS, CRS)};
  const OverImages over{divide_by(PQ), s.K * PQ};
  if (in_fours(dy, PQ, PQ)) {
    const DepthContiguous<4, OverImages> rows{dy, PQ, K, K * PQ, over};
    multiply<Math>(WeightTiles{}, plan, op, rows, seen, store);
  } else {
    const DepthContiguous<1, OverImages> rows{dy, PQ, K, K * PQ, over};
    multiply<Math>(WeightTiles{}, plan, op, rows, seen, store);
  }
}

}  // namespace striate::cuda
