// gemm by Hopper's instructions, which is off by default: called directly, whatever takes.cc
// decides.

#include "cuda/hopper/gemm.h"
#include "product.h"

namespace striate::kernel_tests {
namespace {

using cuda::Precision;

void check(Cases& cases, ProductCase c, Random& random, bool special = false) {
  c.tf32_ties = Ties::even;  // the copy engine's
  cases.run(c.name() + (special ? " special values" : ""), [&] {
    ProductArrays arrays(c, random);
    if (special) add_special_values(arrays, c);
    check_product(c, arrays, [&](float* C, const float* A, const float* B, const float* bias) {
      cuda::hopper_gemm(C, A, B, bias, c.relu, c.alpha, c.beta, c.shape(), c.precision);
    });
  });
}

ProductCase draw(Random& random) {
  return {.precision = random.coin() ? Precision::tf32 : Precision::bf16,
          .M = random.of<int64_t>({1, 7, 64, 65, 127, 128, 129, 200}),
          .N = random.of<int64_t>({1, 2, 31, 64, 127, 128, 129, 255, 257}),
          .K = random.of<int64_t>({1, 3, 8, 31, 32, 33, 64, 65, 100, 257}),
          .trans_a = random.coin(),
          .trans_b = random.coin(),
          .padding = random.of({0, 0, 1, 2, 4, 5}),
          .offset = random.of({0, 0, 1, 2}),
          .alpha = random.of({1.0f, 0.75f}),
          .beta = random.of({0.0f, 0.0f, 0.5f, 1.0f}),
          .bias = random.coin(),
          .relu = random.coin()};
}

/// A GPU of few multiprocessors, whose blocks go on to several tiles.
struct SmallDevice {
  explicit SmallDevice(int multiprocessors) { set(multiprocessors); }
  ~SmallDevice() { set(before); }
  static void set(int count) { cuda_host::device().multiprocessors = count; }
  int before = cuda_host::device().multiprocessors;
};

void products(Cases& cases) {
  Random random(1);
  for (int i = 0; i < 30; ++i) check(cases, draw(random), random);
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    const bool tf32 = precision == Precision::tf32;
    // Few tiles: the sum is split.
    check(cases, {precision, 130, 200, 2100, tf32, !tf32, 0, 0, 1, 0, true, false}, random);
    check(cases, {precision, 60, 33, 1031, !tf32, !tf32, 1, 1, 0.5f, 1, true, true}, random);
    // Many tiles, which are wide then; a block makes several.
    check(cases, {precision, 1409, 10 * 256 + 1, 20, !tf32, tf32, 0, 0, 1, 0, false, true}, random);
    const SmallDevice device(3);
    check(cases, {precision, 300, 390, 100, false, true, 0, 0, 1, 0, false, false}, random);
    for (const bool trans_a : {false, true}) {
      for (const bool trans_b : {false, true}) {
        const ProductCase c{precision, 70, 40, 50, trans_a, trans_b};
        check(cases, c, random, true);
        ProductCase clamped = c;
        clamped.relu = true;
        check(cases, clamped, random, true);
      }
    }
  }
}

}  // namespace
}  // namespace striate::kernel_tests

int main() {
  using namespace striate::kernel_tests;
  Cases cases;
  products(cases);
  return cases.finish();
}
