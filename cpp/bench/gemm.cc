// gemm: the multiplications of LeNet-5's fully connected layers at batch 64, and squares.
#include "striate/gemm.h"

#include <memory>

#include "bench/common.h"

int main(int argc, char** argv) {
  using striate::GemmShape;
  const struct {
    const char* name;
    int64_t M, N, K;
    bool trans_a, trans_b;
  } shapes[] = {
      {"lenet5_fc1", 64, 120, 400, false, true},
      {"lenet5_fc1_data", 64, 400, 120, false, false},
      {"lenet5_fc1_weight", 120, 400, 64, true, false},
      {"lenet5_fc2", 64, 84, 120, false, true},
      {"lenet5_fc1_one_image", 1, 120, 400, false, true},
      {"square_512", 512, 512, 512, false, false},
      {"square_1024", 1024, 1024, 1024, false, false},
      {"square_1024_NT", 1024, 1024, 1024, false, true},
      {"square_1024_TN", 1024, 1024, 1024, true, false},
      {"square_2048", 2048, 2048, 2048, false, false},
  };
  for (const auto& s : shapes) {
    const GemmShape shape{.M = s.M,
                          .N = s.N,
                          .K = s.K,
                          .trans_a = s.trans_a,
                          .trans_b = s.trans_b,
                          .lda = s.trans_a ? s.M : s.K,
                          .ldb = s.trans_b ? s.K : s.N,
                          .ldc = s.N};
    const auto a = striate::bench::numbers(s.M * s.K), b = striate::bench::numbers(s.K * s.N);
    const auto c = std::make_shared<std::vector<float>>(s.M * s.N);
    const auto run = [=] { striate::cpu::gemm(c->data(), a.data(), b.data(), 1.0f, 0.0f, shape); };
    striate::bench::add(std::string("gemm/") + s.name, 2.0 * s.M * s.N * s.K, run);
  }
  return striate::bench::run(argc, argv);
}
