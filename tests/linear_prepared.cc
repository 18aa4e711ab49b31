// linear on packed weights, against sums in double; test_cpp_install.py links this to the library.
#include "cpu/linear_prepared.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "cpu/isa.h"
#include "cpu/parallel.h"

using namespace striate;
using namespace striate::cpu;
using Floats = std::vector<float>;

namespace {

Floats draw(int64_t n, uint32_t seed) {
  Floats values(n);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / (1 << 23) - 1;
  }
  return values;
}

void expect(bool good, const char* what, const LinearShape& s) {
  if (good) return;
  std::printf("%s of N=%d C=%d K=%d: wrong on %s\n", what, static_cast<int>(s.N),
              static_cast<int>(s.C), static_cast<int>(s.K), isa_name().c_str());
  std::exit(1);
}

// got[rows, columns] is the sum over k of left[row, k] right[k, column], each with its strides.
void expect_product(const Floats& got, int64_t rows, int64_t columns, int64_t depth,
                    const Floats& left, int64_t left_row, int64_t left_k, const Floats& right,
                    int64_t right_k, int64_t right_column, const float* bias, bool relu,
                    const char* what, const LinearShape& s) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      double sum = bias == nullptr ? 0 : bias[j];
      for (int64_t k = 0; k < depth; ++k) {
        sum += static_cast<double>(left[i * left_row + k * left_k]) *
               right[k * right_k + j * right_column];
      }
      if (relu && sum < 0) sum = 0;
      const double error = std::fabs(got[i * columns + j] - sum);
      expect(error <= 5e-7 * (static_cast<double>(depth) + 2), what, s);  // false for a NaN
    }
  }
}

void check(const LinearShape& s) {
  const Floats x = draw(s.N * s.C, 1), w = draw(s.K * s.C, 2), b = draw(s.K, 3);
  const Floats dy = draw(s.N * s.K, 4);
  Floats packed(linear_weights_size(s), NAN), turned(linear_backward_weights_size(s), NAN);
  linear_prepare_weights(packed.data(), w.data(), s);
  linear_prepare_backward_weights(turned.data(), w.data(), s);

  Floats y(s.N * s.K, NAN), dx(s.N * s.C, NAN), dw(s.K * s.C, NAN), db(s.K, NAN);
  for (const bool relu : {false, true}) {
    const float* const bias = relu ? nullptr : b.data();
    linear_forward_prepared(y.data(), x.data(), packed.data(), bias, relu, s);
    expect_product(y, s.N, s.K, s.C, x, s.C, 1, w, 1, s.C, bias, relu, "forward", s);
  }
  linear_forward_prepared(y.data(), x.data(), packed.data(), b.data(), true, s);
  expect_product(y, s.N, s.K, s.C, x, s.C, 1, w, 1, s.C, b.data(), true, "forward", s);
  linear_backward_data_prepared(dx.data(), dy.data(), turned.data(), s);
  expect_product(dx, s.N, s.C, s.K, dy, s.K, 1, w, s.C, 1, nullptr, false, "backward_data", s);

  // A row has the same bits alone, and on any number of threads.
  Floats alone(s.K, NAN);
  set_num_threads(1);
  for (int64_t n = 0; n < s.N; ++n) {
    linear_forward_prepared(alone.data(), x.data() + n * s.C, packed.data(), b.data(), true,
                            {.N = 1, .C = s.C, .K = s.K});
    for (int64_t k = 0; k < s.K; ++k) expect(alone[k] == y[n * s.K + k], "a row alone", s);
  }
  set_num_threads(3);

  // The gradients of the parts of a batch add up to the batch's.
  const int64_t part = (s.N + 1) / 2;
  for (int64_t n = 0; n < s.N; n += part) {
    const LinearShape some{.N = n + part < s.N ? part : s.N - n, .C = s.C, .K = s.K};
    linear_accumulate_weight(dw.data(), &dy[n * s.K], &x[n * s.C], n > 0, some);
    linear_accumulate_bias(db.data(), &dy[n * s.K], n > 0, some);
  }
  expect_product(dw, s.K, s.C, s.N, dy, 1, s.K, x, s.C, 1, nullptr, false, "backward_weight", s);
  const Floats ones(s.N, 1.0f);
  expect_product(db, 1, s.K, s.N, ones, 0, 1, dy, s.K, 1, nullptr, false, "backward_bias", s);
}

}  // namespace

int main() {
  set_num_threads(3);
  for (const std::string& isa : supported_isas()) {
    set_isa(isa);
    for (const int64_t n : {1, 2, 14, 15, 33}) {
      check({.N = n, .C = 1, .K = 1});
      check({.N = n, .C = 84, .K = 10});
      check({.N = n, .C = 1100, .K = 65});  // slices of the sum
      check({.N = n, .C = 7, .K = 300});
    }
  }
  std::printf("right\n");
}
