// The micro-kernels of one instruction set: this file is compiled once for each, with its flags and
// STRIATE_ISA as its namespace. Every kernel is static in here; only the table is seen outside.
#include "cpu/kernels/activation.h"
#include "cpu/kernels/adaptive_avg_pool2d.h"
#include "cpu/kernels/avg_pool2d_backward.h"
#include "cpu/kernels/conv2d.h"
#include "cpu/kernels/conv2d_direct.h"
#include "cpu/kernels/conv2d_direct_backward.h"
#include "cpu/kernels/conv2d_direct_pool.h"
#include "cpu/kernels/dropout.h"
#include "cpu/kernels/gemm.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/local_response_norm.h"
#include "cpu/kernels/peak.h"
#include "cpu/kernels/pool2d.h"
#include "cpu/kernels/reduce.h"
#include "cpu/kernels/sgd.h"
#include "cpu/kernels/simd.h"
#include "cpu/kernels/softmax.h"
#include "cpu/kernels/winograd.h"

namespace striate::cpu::STRIATE_ISA {

extern const Kernels kernels = {
    .lanes = kLanes,

    .tile_rows = kTileRows,
    .tile_columns = kTileVectors * kLanes,
    .dot_rows = kDotRows,
    .dot_columns = kDotColumns,
    .gemm_tile = gemm_tile,
    .gemm_dot = gemm_dot,
    .transpose = transpose,
    .copy = copy,

    .im2col = im2col,
    .col2im = col2im,

    .winograd_lines = winograd_lines,
    .winograd_tile = winograd_tile<true>,
    .winograd_weight_tile = winograd_tile<false>,
    .planes_to_lanes = planes_to_lanes,
    .lanes_to_planes = lanes_to_planes,

    .sum = sum,
    .add = add,

    .lrn_bases = lrn_bases,
    .lrn_power = lrn_power,
    .lrn_forward = lrn_forward,
    .lrn_backward = lrn_backward,

    .max_pool2d_forward = max_pool2d_forward,
    .avg_pool2d_forward = avg_pool2d_forward,

    .adaptive_avg_pool2d_forward = adaptive_avg_pool2d_forward,
    .adaptive_avg_pool2d_backward = adaptive_avg_pool2d_backward,

    .relu_forward = relu_forward,
    .relu_backward = relu_backward,
    .tanh_forward = tanh_forward,
    .tanh_backward = tanh_backward,
    .sigmoid_forward = sigmoid_forward,
    .sigmoid_backward = sigmoid_backward,

    .avg_pool2d_scratch = avg_pool2d_scratch,
    .avg_pool2d_backward = avg_pool2d_backward,

    .dropout = dropout,

    .sgd_step = sgd_step,

    .peak_sums = kPeakSums,
    .multiply_add_loop = multiply_add_loop,
    .read_loop = read_loop,

    .softmax_rows = softmax_rows<false>,
    .softmax_columns = softmax_columns<false>,
    .softmax_rows_backward = softmax_rows_backward<false>,
    .softmax_columns_backward = softmax_columns_backward<false>,
    .log_softmax_rows = softmax_rows<true>,
    .log_softmax_columns = softmax_columns<true>,
    .log_softmax_rows_backward = softmax_rows_backward<true>,
    .log_softmax_columns_backward = softmax_columns_backward<true>,

    .pixel_channels = kPixelChannels,
    .channel_lanes = kChannelVectors * kLanes,
    .direct_pixels = direct_pixels,
    .direct_channels = direct_channels,
    .direct_lay_out = direct_lay_out,
    .turn_channels = turn_channels,

    .direct_nonzeros = direct_nonzeros,
    .direct_add_patches = direct_add_patches,
    .direct_add_taps = direct_add_taps,
    .direct_pooled_nonzeros = direct_pooled_nonzeros,
    .direct_pool_pixels = direct_pool_pixels,
    .direct_pool_channels = direct_pool_channels,
    .direct_spread = direct_spread,
};

}  // namespace striate::cpu::STRIATE_ISA
