#include "striate/gemm.h"

namespace striate::reference {

template <class T>
void gemm(T* C, const T* A, const T* B, T alpha, T beta, const GemmShape& s) {
  for (int64_t m = 0; m < s.M; ++m) {
    for (int64_t n = 0; n < s.N; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < s.K; ++k) {
        const double a = s.trans_a ? A[k * s.lda + m] : A[m * s.lda + k];
        const double b = s.trans_b ? B[n * s.ldb + k] : B[k * s.ldb + n];
        sum += a * b;
      }
      T& c = C[m * s.ldc + n];
      c = static_cast<T>(alpha * sum + (beta == 0 ? 0.0 : static_cast<double>(beta) * c));
    }
  }
}

template void gemm(float*, const float*, const float*, float, float, const GemmShape&);
template void gemm(double*, const double*, const double*, double, double, const GemmShape&);

}  // namespace striate::reference
