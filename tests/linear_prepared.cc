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

void expect_forward(const Floats& y, const Floats& x, const Floats& w, const float* bias, bool relu,
                    const LinearShape& s) {
  for (int64_t n = 0; n < s.N; ++n) {
    for (int64_t k = 0; k < s.K; ++k) {
      double sum = bias == nullptr ? 0 : bias[k];
      for (int64_t c = 0; c < s.C; ++c) sum += static_cast<double>(x[n * s.C + c]) * w[k * s.C + c];
      if (relu && sum < 0) sum = 0;
      const double error = std::fabs(y[n * s.K + k] - sum);
      expect(error <= 5e-7 * (static_cast<double>(s.C) + 2), "forward", s);  // false for a NaN
    }
  }
}

void check(const LinearShape& s) {
  const Floats x = draw(s.N * s.C, 1), w = draw(s.K * s.C, 2), b = draw(s.K, 3);
  Floats packed(linear_weights_size(s), NAN), y(s.N * s.K, NAN);
  linear_prepare_weights(packed.data(), w.data(), s);
  for (const float* bias : {static_cast<const float*>(nullptr), b.data()}) {
    for (const bool relu : {false, true}) {
      linear_forward_prepared(y.data(), x.data(), packed.data(), bias, relu, s);
      expect_forward(y, x, w, bias, relu, s);
    }
  }

  // A row has the same bits alone, and on any number of threads.
  Floats alone(s.K, NAN);
  set_num_threads(1);
  for (int64_t n = 0; n < s.N; ++n) {
    linear_forward_prepared(alone.data(), x.data() + n * s.C, packed.data(), b.data(), true,
                            {.N = 1, .C = s.C, .K = s.K});
    for (int64_t k = 0; k < s.K; ++k) expect(alone[k] == y[n * s.K + k], "a row alone", s);
  }
  set_num_threads(3);
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
