#include "tests/case.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace striate::tests {
namespace {

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kFence = 16;  // floats around a result, which nobody may write
constexpr float kUntouched = -1234.5f;

bool close(float got, float expected, double atol) {
  if (std::isnan(expected)) return std::isnan(got);
  if (std::isinf(expected)) return got == expected;
  return std::fabs(double{got} - expected) <= atol + 8 * kEpsilon * std::fabs(expected);
}

}  // namespace

double rounding(int64_t depth, double scale) {
  return 4 * kEpsilon * (static_cast<double>(depth) + 2) * scale;
}

Case::Case(const std::string& op, int number) : name_(op + " " + std::to_string(number)) {
  std::seed_seq seed(name_.begin(), name_.end());
  random_.seed(seed);
}

int64_t Case::integer(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random_);
}

float* Case::normal(int64_t n, bool nans) {
  std::normal_distribution<float> distribution;
  Floats& values = arrays_.emplace_back(n + 1);
  for (float& value : values) value = distribution(random_);
  for (int64_t i = 1; nans && i <= n; i += integer(1, 100)) values[i] = kNaN;
  return values.data() + 1;
}

Floats Case::result(int64_t n, const Run& run) {
  Floats out(n, kNaN);
  run(out.data());
  return out;
}

void Case::fail(const char* what, const std::string& how) const {
  std::printf("%s: %s on %s, %d threads: %s\n", name_.c_str(), what, cpu::isa_name().c_str(),
              cpu::num_threads(), how.c_str());
  std::exit(1);
}

void Case::expect_close(const char* what, const Floats& got, const Floats& expected,
                        double atol) const {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    if (close(got[kFence + i], expected[i], atol)) continue;
    char how[160];
    std::snprintf(how, sizeof how, "element %zu of %zu is %.9g, expected %.9g within %.2g", i,
                  expected.size(), got[kFence + i], expected[i], atol);
    fail(what, how);
  }
  for (int64_t i = 0; i < kFence; ++i) {
    if (got[i] != kUntouched || got.end()[-1 - i] != kUntouched) fail(what, "wrote outside");
  }
}

void Case::expect(const char* what, const Floats& expected, double atol, const Run& run) const {
  const auto fast = [&](int threads) {
    cpu::set_num_threads(threads);
    Floats out(kFence + expected.size() + kFence, kUntouched);
    std::fill(out.begin() + kFence, out.end() - kFence, kNaN);
    run(out.data() + kFence);
    expect_close(what, out, expected, atol);
    return out;
  };
  for (const std::string& isa : cpu::supported_isas()) {
    cpu::set_isa(isa);
    const Floats together = fast(3), alone = fast(1);
    const bool same = std::memcmp(together.data(), alone.data(), alone.size() * sizeof(float)) == 0;
    if (!same) fail(what, "other bits than on 3 threads");
  }
  cpu::set_isa("auto");
}

}  // namespace striate::tests
