// A network's first layers without Python: a kernel that looks for left edges in the lecture's
// letter (docs/lecture.md), ReLU, and the largest answer of each 3 x 3 window.
#include <cstdio>

#include "striate/activation.h"
#include "striate/conv2d.h"
#include "striate/pool2d.h"

static void print(const char* title, const float* y, int rows, int columns) {
  std::printf("%s", title);
  for (int i = 0; i < rows * columns; ++i) std::printf(i % columns ? "%3g" : "\n%3g", y[i]);
  std::printf("\n");
}

int main() {
  const char letter[] = "0000000 0111110 0100100 0101000 0110000 0100000 0000000";
  const float left_edge[] = {-1, 1, 0, -1, 1, 0, -1, 1, 0};
  float x[7 * 7], edges[5 * 5], largest[2 * 2];
  for (int i = 0; i < 7 * 7; ++i) x[i] = static_cast<float>(letter[i + i / 7] - '0');

  const striate::Conv2dShape convolution = {
      .N = 1, .C = 1, .H = 7, .W = 7, .K = 1, .R = 3, .S = 3, .P = 5, .Q = 5};
  striate::cpu::conv2d_forward(edges, x, left_edge, nullptr, convolution);
  print("convolution", edges, 5, 5);

  const striate::Pool2dShape pooling = {
      .N = 1, .C = 1, .H = 5, .W = 5, .R = 3, .S = 3, .P = 2, .Q = 2, .stride_h = 2, .stride_w = 2};
  striate::cpu::relu_forward(edges, edges, 5 * 5);
  striate::cpu::max_pool2d_forward(largest, nullptr, edges, pooling);
  print("ReLU and max pooling", largest, 2, 2);
}
