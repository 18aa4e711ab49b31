// conv2d's output: w[K, (c, r, s)] x what each output pixel sees [(c, r, s), (n, p, q)], in each
// group.
#pragma once

#include "cuda/conv2d_gemm.h"
#include "cuda/im2col.cuh"
#include "cuda/multiply.h"
#include "cuda/operand.cuh"
#include "cuda/store.cuh"

namespace striate::cuda {

// Rows are channels, of which there may be few; columns are pixels, of which there are many.
using PixelTiles = TileList<Tile<128, 128, 8, 8, 8>, Tile<64, 128, 8, 8, 8>, Tile<32, 128, 8, 4, 8>,
                            Tile<16, 128, 4, 4, 16>, Tile<8, 128, 4, 4, 16>>;

template <class Math>
void gemm_conv2d_forward(const char* name, float* y, const float* x, const float* w, const float* b,
                         bool relu, const Conv2dShape& s) {
  const int64_t K = s.K / s.G, CRS = s.CRS(), PQ = s.PQ();
  const Plan plan = make_plan<Math>(PixelTiles{}, K, s.N * PQ, CRS, s.G, kMostTerms);
  const std::string algorithm = plan.template algorithm<Math>();
  const Op op = conv2d_op(name, s, algorithm.c_str());
  const TapsByPixels seen{images_of(x, s)};
  const PixelStore store{.y = y,
                         .rows = K,
                         .pixels = s.N * PQ,
                         .channel_stride = PQ,
                         .image_stride = s.K * PQ,
                         .PQ = seen.PQ,
                         .Q = seen.Q,
                         .vectors = in_fours(y, PQ, PQ),
                         .bias = b,
                         .relu = relu};
  if (in_fours(w, CRS, CRS)) {
    multiply<Math>(PixelTiles{}, plan, op, DepthContiguous<4>{w, CRS, K, K * CRS}, seen, store);
  } else {
    multiply<Math>(PixelTiles{}, plan, op, DepthContiguous<1>{w, CRS, K, K * CRS}, seen, store);
  }
}

}  // namespace striate::cuda
