// What scripts/check_instructions.py counts: each op once, on small fixed shapes, one thread.
//
//     valgrind --tool=callgrind --collect-atstart=no build/bench/cpp/bench/instructions
//
// Instructions do not depend on the machine's load, as times do, so that a test can insist on them.
// Each case runs once uncounted, which fills the memory pool and reads the environment.
#include <valgrind/callgrind.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "striate/activation.h"
#include "striate/adaptive_avg_pool2d.h"
#include "striate/conv2d.h"
#include "striate/cross_entropy.h"
#include "striate/dropout.h"
#include "striate/gemm.h"
#include "striate/linear.h"
#include "striate/local_response_norm.h"
#include "striate/pool2d.h"
#include "striate/sgd.h"
#include "striate/softmax.h"

namespace {

using namespace striate;

template <class Run>
void count(const std::string& name, const Run& run) {
  run();
  CALLGRIND_TOGGLE_COLLECT;
  run();
  CALLGRIND_TOGGLE_COLLECT;
  CALLGRIND_DUMP_STATS_AT(name.c_str());  // and zero them
}

// Positive and negative, and never the same twice.
std::vector<float> numbers(int64_t count) {
  std::vector<float> values(count);
  uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int32_t>(state)) / 2147483648.0f;
  }
  return values;
}

void conv2d(const std::string& layer, int64_t N, int64_t C, int64_t H, int64_t K, int64_t R,
            int64_t stride, int64_t pad) {
  const int64_t P = conv2d_output(H, 2 * pad, R, stride, 1);
  const Conv2dShape s{.N = N,
                      .C = C,
                      .H = H,
                      .W = H,
                      .K = K,
                      .R = R,
                      .S = R,
                      .P = P,
                      .Q = P,
                      .stride_h = stride,
                      .stride_w = stride,
                      .pad_top = pad,
                      .pad_left = pad,
                      .pad_bottom = pad,
                      .pad_right = pad};
  auto x = numbers(N * C * H * H), w = numbers(K * s.CRS()), y = numbers(N * K * s.PQ());
  auto b = numbers(K);
  const std::string name = "conv2d/" + layer;
  count(name + "/forward", [&] { cpu::conv2d_forward(y.data(), x.data(), w.data(), b.data(), s); });
  count(name + "/backward_data",
        [&] { cpu::conv2d_backward_data(x.data(), y.data(), w.data(), s); });
  count(name + "/backward_weight",
        [&] { cpu::conv2d_backward_weight(w.data(), y.data(), x.data(), s); });
  count(name + "/backward_bias", [&] { cpu::conv2d_backward_bias(b.data(), y.data(), s); });
}

void linear(const std::string& layer, int64_t N, int64_t C, int64_t K) {
  const LinearShape s{N, C, K};
  auto x = numbers(N * C), w = numbers(K * C), b = numbers(K), y = numbers(N * K);
  const std::string name = "linear/" + layer;
  count(name + "/forward", [&] { cpu::linear_forward(y.data(), x.data(), w.data(), b.data(), s); });
  count(name + "/backward_data",
        [&] { cpu::linear_backward_data(x.data(), y.data(), w.data(), s); });
  count(name + "/backward_weight",
        [&] { cpu::linear_backward_weight(w.data(), y.data(), x.data(), s); });
  count(name + "/backward_bias", [&] { cpu::linear_backward_bias(b.data(), y.data(), s); });
}

void gemm(const std::string& name, int64_t size, bool trans_a, bool trans_b) {
  const auto a = numbers(size * size), b = numbers(size * size);
  std::vector<float> c(size * size);
  const GemmShape s{.M = size,
                    .N = size,
                    .K = size,
                    .trans_a = trans_a,
                    .trans_b = trans_b,
                    .lda = size,
                    .ldb = size,
                    .ldc = size};
  count("gemm/" + name, [&] { cpu::gemm(c.data(), a.data(), b.data(), 1.0f, 0.0f, s); });
}

void pool2d(const std::string& layer, int64_t C, int64_t H, int64_t R, int64_t stride) {
  const int64_t P = pool2d_output_size(H, R, stride, 0, 0, 1, false);
  const Pool2dShape s{.N = 1,
                      .C = C,
                      .H = H,
                      .W = H,
                      .R = R,
                      .S = R,
                      .P = P,
                      .Q = P,
                      .stride_h = stride,
                      .stride_w = stride};
  auto x = numbers(C * H * H), y = numbers(C * P * P);
  std::vector<int32_t> indices(C * P * P);
  const Pool2dDivisor divisor{.count_include_pad = true, .divisor_override = 0};
  count("max_pool2d/" + layer + "/forward",
        [&] { cpu::max_pool2d_forward(y.data(), indices.data(), x.data(), s); });
  count("max_pool2d/" + layer + "/backward",
        [&] { cpu::max_pool2d_backward(x.data(), y.data(), indices.data(), s); });
  count("avg_pool2d/" + layer + "/forward",
        [&] { cpu::avg_pool2d_forward(y.data(), x.data(), s, divisor); });
  count("avg_pool2d/" + layer + "/backward",
        [&] { cpu::avg_pool2d_backward(x.data(), y.data(), s, divisor); });
}

void elementwise(int64_t n) {
  const auto x = numbers(n), dy = numbers(n);
  std::vector<float> y(n);
  count("relu/forward", [&] { cpu::relu_forward(y.data(), x.data(), n); });
  count("relu/backward", [&] { cpu::relu_backward(y.data(), dy.data(), x.data(), n); });
  count("tanh/forward", [&] { cpu::tanh_forward(y.data(), x.data(), n); });
  count("sigmoid/forward", [&] { cpu::sigmoid_forward(y.data(), x.data(), n); });
  const DropoutKey key{.seed = 1, .call = 2, .step = 3};
  count("dropout", [&] { cpu::dropout(y.data(), x.data(), n, 0.5, key, 0); });
  std::vector<float> w(x), v(n);
  const SgdTensor<float> tensor{
      .w = w.data(), .dw = dy.data(), .v = v.data(), .n = n, .first = false};
  const SgdOptions options{.lr = 0.01,
                           .momentum = 0.9,
                           .dampening = 0,
                           .weight_decay = 5e-4,
                           .nesterov = false,
                           .maximize = false};
  count("sgd_step", [&] { cpu::sgd_step(&tensor, 1, options); });
}

void classes() {
  const SoftmaxSizes s{.outer = 64, .classes = 10, .inner = 1};
  const auto x = numbers(640);
  auto y = x;
  std::vector<int64_t> labels(64, 3);
  const CrossEntropy<float> problem{.sizes = s,
                                    .labels = labels.data(),
                                    .probabilities = nullptr,
                                    .weight = nullptr,
                                    .ignore_index = -100,
                                    .label_smoothing = 0,
                                    .mean = true};
  count("softmax/forward", [&] { cpu::softmax_forward(y.data(), x.data(), s); });
  count("cross_entropy/forward", [&] { cpu::cross_entropy_forward(nullptr, x.data(), problem); });
  count("cross_entropy/backward",
        [&] { cpu::cross_entropy_backward(y.data(), nullptr, 1, x.data(), problem); });
}

void local_response_norm() {
  const LocalResponseNorm s{
      .N = 1, .C = 96, .L = 27 * 27, .size = 5, .alpha = 5e-4, .beta = 0.75, .k = 2};
  const auto x = numbers(s.N * s.C * s.L), dy = x;
  std::vector<float> y(x.size());
  count("local_response_norm/forward",
        [&] { cpu::local_response_norm_forward(y.data(), x.data(), s); });
  count("local_response_norm/backward",
        [&] { cpu::local_response_norm_backward(y.data(), dy.data(), x.data(), s); });
}

void adaptive_avg_pool2d() {
  const AdaptiveAvgPool2dShape s{.N = 1, .C = 64, .H = 13, .W = 13, .P = 6, .Q = 6};
  auto x = numbers(64 * 169), y = numbers(64 * 36);
  count("adaptive_avg_pool2d/forward",
        [&] { cpu::adaptive_avg_pool2d_forward(y.data(), x.data(), s); });
  count("adaptive_avg_pool2d/backward",
        [&] { cpu::adaptive_avg_pool2d_backward(x.data(), y.data(), s); });
}

}  // namespace

int main() {
  cpu::set_num_threads(1);
  cpu::set_isa("avx2");  // Valgrind knows no AVX-512
  std::printf("compiler: %s\n", STRIATE_COMPILER);
  conv2d("lenet5_conv1", 16, 1, 28, 6, 5, 1, 2);
  conv2d("lenet5_conv2", 16, 6, 14, 16, 5, 1, 0);
  conv2d("alexnet_conv1", 1, 3, 112, 64, 11, 4, 2);  // of half the side
  conv2d("alexnet_conv2", 1, 32, 27, 64, 5, 1, 2);   // fewer channels
  conv2d("alexnet_conv3", 1, 64, 13, 96, 3, 1, 1);
  linear("lenet5_fc1", 16, 400, 120);
  linear("lenet5_fc1_one_image", 1, 400, 120);
  for (const bool a : {false, true}) {
    for (const bool b : {false, true}) {
      gemm(std::string("square_160_") + (a ? "T" : "N") + (b ? "T" : "N"), 160, a, b);
    }
  }
  pool2d("lenet5_pool1", 6, 28, 2, 2);
  pool2d("alexnet_pool1", 16, 55, 3, 2);
  elementwise(50000);
  classes();
  local_response_norm();
  adaptive_avg_pool2d();
}
