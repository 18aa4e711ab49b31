// What a network's first layers do, without Python: a convolution that looks for left edges in the
// lecture's letter (docs/lecture.md), ReLU, and the largest answer of each 3 x 3 window.
#include <cstdio>

#include "striate/activation.h"
#include "striate/conv2d.h"
#include "striate/pool2d.h"

void print(const char* title, const float* y, int64_t rows, int64_t columns) {
  std::printf("%s\n", title);
  for (int64_t i = 0; i < rows * columns; ++i) {
    std::printf("%3g%s", y[i], i % columns == columns - 1 ? "\n" : "");
  }
}

int main() {
  const char picture[] =
      "0000000"
      "0111110"
      "0100100"
      "0101000"
      "0110000"
      "0100000"
      "0000000";
  float x[7 * 7], edges[5 * 5], largest[2 * 2];
  for (int i = 0; i < 7 * 7; ++i) x[i] = static_cast<float>(picture[i] - '0');
  const float w[3][3] = {{-1, 1, 0}, {-1, 1, 0}, {-1, 1, 0}};

  const striate::Conv2dShape convolution = {
      .N = 1, .C = 1, .H = 7, .W = 7, .K = 1, .R = 3, .S = 3, .P = 5, .Q = 5};
  striate::cpu::conv2d_forward(edges, x, w[0], nullptr, convolution);
  print("convolution", edges, 5, 5);

  striate::cpu::relu_forward(edges, edges, 5 * 5);
  print("ReLU", edges, 5, 5);

  const striate::Pool2dShape pooling = {
      .N = 1, .C = 1, .H = 5, .W = 5, .R = 3, .S = 3, .P = 2, .Q = 2, .stride_h = 2, .stride_w = 2};
  striate::cpu::max_pool2d_forward(largest, nullptr, edges, pooling);
  print("max pooling, 3 x 3 windows with stride 2", largest, 2, 2);
}
