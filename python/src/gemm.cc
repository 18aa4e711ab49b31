#include "striate/gemm.h"

#include "arrays.h"
#include "backend.h"
#include "instances.h"
#include "ops.h"

namespace striate::bindings {

template <class T>
void register_gemm(py::module_& m) {
  m.def(
      "gemm",
      [](const py::object& a, const py::object& b, bool trans_a, bool trans_b, T alpha, T beta,
         const py::object& c) {
        const Input<T> A(a, "gemm", "a"), B(b, "gemm", "b");
        const OptionalInput<T> C(c, "gemm", "c");
        A.expect_ndim(2, trans_a ? "(K, M)" : "(M, K)");
        B.expect_ndim(2, trans_b ? "(N, K)" : "(K, N)");
        const GemmShape s{.M = A[trans_a ? 1 : 0],
                          .N = B[trans_b ? 0 : 1],
                          .K = A[trans_a ? 0 : 1],
                          .trans_a = trans_a,
                          .trans_b = trans_b,
                          .lda = A[1],
                          .ldb = B[1],
                          .ldc = B[trans_b ? 0 : 1]};
        if (s.K != B[trans_b ? 1 : 0]) {
          fail("gemm", "the sums of a and b differ in depth: a " + text(A.shape()) +
                           (trans_a ? " transposed" : "") + ", b " + text(B.shape()) +
                           (trans_b ? " transposed" : ""));
        }
        if (C) (*C).expect_shape({s.M, s.N}, "that of the product");
        if (!C && beta != 0) fail("gemm", "beta=" + std::to_string(beta) + " needs c, got None");
        const auto op = choose(reference::gemm<T>, fast::gemm);
        return written<T>({s.M, s.N}, [&](T* to) {
          if (C) copy_elements(to, C.data(), s.M * s.N);
          op(to, A.data(), B.data(), alpha, beta, s);
        });
      },
      py::arg("a"), py::arg("b"), py::arg("trans_a") = false, py::arg("trans_b") = false,
      py::arg("alpha") = 1, py::arg("beta") = 0, py::arg("c") = py::none());
}

STRIATE_INSTANCES(register_gemm)

}  // namespace striate::bindings
