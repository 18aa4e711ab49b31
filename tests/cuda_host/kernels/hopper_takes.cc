// When gemm goes Hopper's way, with STRIATE_CUDA_HOPPER=1 in the environment and without.
#include <cstdlib>

#include "cuda/hopper/gemm.h"
#include "kernels.h"
#include "striate/gemm.h"

namespace striate::kernel_tests {
namespace {

using cuda::Precision;

void decisions(Cases& cases) {
  const auto takes = [](GemmShape s, Precision precision, int offset = 0) {
    alignas(16) static const float aligned[4] = {};
    s.lda = s.trans_a ? s.M : s.K, s.ldb = s.trans_b ? s.K : s.N, s.ldc = s.N;
    return cuda::hopper_gemm_takes(s, aligned + offset, aligned, precision);
  };
  const GemmShape linear{128, 4096, 9216, false, true, 0, 0, 0};
  const GemmShape square{4096, 4096, 4096, true, false, 0, 0, 0};
  const char* const set = std::getenv("STRIATE_CUDA_HOPPER");
  const bool on = set != nullptr && *set == '1';
  cases.run("takes what needs no copy, where it is switched on", [&] {
    expect(takes(linear, Precision::tf32) == on, "alexnet's first linear layer, batch 128");
  });
  cases.run("takes large products in spite of a copy", [&] {
    expect(takes(square, Precision::bf16) == on, "bf16");
    expect(takes(square, Precision::tf32) == on, "tf32, transposed");
    expect(takes(square, Precision::tf32, 1) == on, "tf32, misaligned");
  });
  cases.run("leaves what it does not do, or not well", [&] {
    expect(!takes(square, Precision::float32), "float32");
    expect(!takes(linear, Precision::bf16), "a copy of large weights for few images");
    GemmShape few = linear;
    few.M = 127;
    expect(!takes(few, Precision::tf32), "few rows");
    expect(!takes({128, 128, 128, false, true, 0, 0, 0}, Precision::tf32), "small products");
    expect(!takes({0, 4096, 9216, false, true, 0, 0, 0}, Precision::tf32), "no rows");
    expect(!takes({1 << 22, 1 << 22, 128, false, true, 0, 0, 0}, Precision::tf32), "too many");
  });
  cases.run("leaves other GPUs", [&] {
    for (const int major : {8, 10, 12}) {
      cuda_host::device().major = major;
      expect(!takes(square, Precision::bf16), "major " + std::to_string(major));
    }
    cuda_host::device().major = 9;
    expect(takes(square, Precision::bf16) == on, "major 9");
  });
}

}  // namespace
}  // namespace striate::kernel_tests

int main() {
  using namespace striate::kernel_tests;
  Cases cases;
  decisions(cases);
  return cases.finish();
}
