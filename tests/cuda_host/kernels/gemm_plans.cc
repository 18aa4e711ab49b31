// gemm with each of its tiles, the operands as they are and exchanged, in each arithmetic, with one
// slice, three, and one for each panel.
#include "cuda/float32.cuh"
#include "cuda/gemm.cuh"
#include "cuda/tensor/tensor_core.cuh"
#include "plans.h"
#include "product.h"

namespace striate::kernel_tests {
namespace {

/// In fours: everything is a multiple of four, which readers of vectors want.
ProductCase draw(cuda::Precision precision, const Listed& tile, bool in_fours, Random& random) {
  const bool one_by_one = !in_fours;
  // From less than a tile to a little more.
  const auto size = [&](int of_tile) {
    const int64_t drawn =
        random.of<int64_t>({1, 5, of_tile - 3, of_tile, of_tile + 1, of_tile + 9});
    return one_by_one ? drawn : (drawn + 3) / 4 * 4;
  };
  ProductCase c{.precision = precision, .M = size(tile.rows), .N = size(tile.columns), .K = 0};
  if (choice.turned) std::swap(c.M, c.N);
  const bool panels = choice.slices == kSlicePanels;  // more than the 32 that one thread adds up
  c.K = panels ? 35 * tile.depth - 4 : random.of<int64_t>({4, 32, 100, 132, 200});
  if (one_by_one) c.K += random.between(-3, 3);
  c.trans_a = random.coin(), c.trans_b = random.coin();
  c.padding = static_cast<int>(random.of({0, 1, 2}) * (in_fours ? 4 : 1));
  c.offset = static_cast<int>(one_by_one ? random.between(0, 3) : 0);
  c.alpha = random.of({1.0f, 1.0f, -2.0f}), c.beta = random.of({0.0f, 0.0f, 0.5f});
  c.bias = random.coin(), c.relu = random.coin();
  return c;
}

template <class Math>
void multiply(const ProductCase& c, float* C, const float* A, const float* B, const float* bias) {
  const GemmShape s = c.shape();
  cuda::multiply_matrices_in<Planned<Math>>("gemm", {{"M", s.M}, {"N", s.N}, {"K", s.K}},
                                            {.C = C,
                                             .A = A,
                                             .B = B,
                                             .shape = s,
                                             .alpha = c.alpha,
                                             .beta = c.beta,
                                             .bias = bias,
                                             .relu = c.relu});
}

template <class Math>
void run(Cases& cases, cuda::Precision precision, Random& random) {
  const int before = plans_made;
  most_slices = 0;
  for (const Listed& tile : tiles_of<Math>(cuda::MatrixTiles{})) {
    for (const int variant : {0, 1, 2, 3}) {
      for (const int64_t slices : {int64_t{1}, int64_t{3}, kSlicePanels}) {
        choice = {tile.index, slices, variant % 2 == 1};
        const ProductCase c = draw(precision, tile, variant < 2, random);
        const std::string name = std::to_string(tile.rows) + "x" + std::to_string(tile.columns) +
                                 (choice.turned ? " turned" : "") +
                                 " slices=" + std::to_string(slices) + " " + c.name();
        cases.run(name, [&] {
          const ProductArrays arrays(c, random);
          check_product(c, arrays, [&](auto... pointers) { multiply<Math>(c, pointers...); });
        });
      }
    }
  }
  for (const bool relu : {false, true}) {
    ProductCase c{.precision = precision, .M = 70, .N = 40, .K = 50, .relu = relu};
    choice = {1, 1, false};
    cases.run(c.name() + " special values", [&] {
      ProductArrays arrays(c, random);
      add_special_values(arrays, c);
      check_product(c, arrays, [&](auto... pointers) { multiply<Math>(c, pointers...); });
    });
  }
  cases.run(std::string(cuda::name_of(precision)) + ": the plans are ours", [&] {
    expect(plans_made > before, "none was asked for");
    expect(most_slices > cuda::kMostSliceRows, std::to_string(most_slices) + " slices at the most");
  });
}

}  // namespace
}  // namespace striate::kernel_tests

int main() {
  using namespace striate;
  using namespace striate::kernel_tests;
  Cases cases;
  Random random(1);
  run<cuda::Float32>(cases, cuda::Precision::float32, random);
  run<cuda::Tf32>(cases, cuda::Precision::tf32, random);
  run<cuda::Bf16>(cases, cuda::Precision::bf16, random);
  return cases.finish();
}
