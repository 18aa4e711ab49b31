// A product of matrices with what is done to its sums, against the reference in double.
#pragma once

#include <algorithm>

#include "kernels.h"
#include "striate/gemm.h"

namespace striate::kernel_tests {

/// C = relu(alpha op(A) op(B) + beta C + bias); rows of the stored matrices are `padding` longer
/// than they need, and the arrays begin `offset` floats after an aligned address.
struct ProductCase {
  cuda::Precision precision;
  int64_t M, N, K;
  bool trans_a = false, trans_b = false;
  int padding = 0, offset = 0;
  float alpha = 1, beta = 0;
  bool bias = false, relu = false;
  Ties tf32_ties = Ties::away;

  GemmShape shape() const {
    return {M,
            N,
            K,
            trans_a,
            trans_b,
            (trans_a ? M : K) + padding,
            (trans_b ? K : N) + padding,
            N + padding};
  }
  std::string name() const {
    char text[200];
    std::snprintf(text, sizeof text,
                  "%s M=%ld N=%ld K=%ld trans=%d%d padding=%d offset=%d alpha=%g beta=%g bias=%d "
                  "relu=%d",
                  cuda::name_of(precision), static_cast<long>(M), static_cast<long>(N),
                  static_cast<long>(K), trans_a, trans_b, padding, offset, alpha, beta, bias, relu);
    return text;
  }
};

struct ProductArrays {
  Values A, B, C, bias;

  ProductArrays(const ProductCase& c, Random& random) {
    const GemmShape s = c.shape();
    const auto draw = [&](int64_t rows, int64_t stride, int64_t columns) {
      return random.normal(rows == 0 ? 0 : (rows - 1) * stride + columns);
    };
    A = c.trans_a ? draw(s.K, s.lda, s.M) : draw(s.M, s.lda, s.K);
    B = c.trans_b ? draw(s.N, s.ldb, s.K) : draw(s.K, s.ldb, s.N);
    C = draw(s.M, s.ldc, s.N);
    bias = random.normal(s.N);
    if (c.beta == 0) std::fill(C.begin(), C.end(), NAN);  // which is not read
  }
};

/// NaNs of all kinds, infinities, and what rounding may make of a number. Needs M >= 9, K >= 50 and
/// N >= 6.
inline void add_special_values(ProductArrays& arrays, const ProductCase& c) {
  const GemmShape s = c.shape();
  const auto a = [&](int64_t m, int64_t k) -> float& {
    return arrays.A[static_cast<std::size_t>(c.trans_a ? k * s.lda + m : m * s.lda + k)];
  };
  const auto b = [&](int64_t k, int64_t n) -> float& {
    return arrays.B[static_cast<std::size_t>(c.trans_b ? n * s.ldb + k : k * s.ldb + n)];
  };
  // Carelessly rounded, the first two become zeros, and in bf16 the third an infinity.
  int row = 0;
  for (const uint32_t bits : {0x7fffffffu, 0xffffffffu, 0x7f802000u, 0x7fc00000u}) {
    std::memcpy(&a(row, 7 * row), &bits, sizeof bits);
    ++row;
  }
  a(4, 3) = INFINITY, a(5, 49) = -INFINITY;
  if (c.precision != cuda::Precision::float32) {
    a(6, 0) = std::numeric_limits<float>::max();  // an infinity, rounded
  }
  a(7, 1) = 1e-40f;
  b(5, 4) = INFINITY, a(8, 5) = 0;  // NaN in one row of column 4
  b(1, 5) = NAN;
}

/// `multiply(C, A, B, bias or nullptr)` in every order of threads, and then against the reference.
template <class Multiply>
void check_product(const ProductCase& c, const ProductArrays& arrays, const Multiply& multiply) {
  const Values got = in_every_order([&] {
    const Array A(arrays.A, c.offset), B(arrays.B, c.offset), C(arrays.C, c.offset);
    const Array bias(arrays.bias, c.offset);
    multiply(C.data(), A.data(), B.data(), c.bias ? bias.data() : nullptr);
    return C.values();
  });

  const GemmShape s = c.shape();
  const std::vector<double> A = rounded(arrays.A, c.precision, c.tf32_ties),
                            B = rounded(arrays.B, c.precision, c.tf32_ties);
  std::vector<double> wanted(arrays.C.begin(), arrays.C.end());
  reference::gemm<double>(wanted.data(), A.data(), B.data(), c.alpha, c.beta, s);
  for (std::size_t i = 0; i < got.size(); ++i) {
    const int64_t m = static_cast<int64_t>(i) / s.ldc, n = static_cast<int64_t>(i) % s.ldc;
    const std::string where = "C[" + std::to_string(m) + ", " + std::to_string(n) + "]";
    if (n >= s.N) {
      expect(std::memcmp(&got[i], &arrays.C[i], sizeof(float)) == 0, where + " was written");
      continue;
    }
    double value = wanted[i] + (c.bias ? arrays.bias[static_cast<std::size_t>(n)] : 0);
    if (c.relu && value < 0) value = 0;
    expect_close(got[i], value, static_cast<double>(s.K), std::max(1.0f, std::fabs(c.alpha)),
                 where);
  }
}

}  // namespace striate::kernel_tests
