// What the programs of this folder share: arrays of their exact size, numbers, comparisons, and the
// count of cases. They call kernels that no op of Python's calls, or not so.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <initializer_list>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "cuda/precision.h"

namespace striate::kernel_tests {

using Values = std::vector<float>;

/// Device memory that ends where the values do; `offset` floats before them are not theirs.
class Array {
 public:
  explicit Array(const Values& values, int offset = 0) : count_(values.size()), offset_(offset) {
    cudaMalloc(&block_, (count_ + offset) * sizeof(float));
    set(values);
  }
  ~Array() { cudaFree(block_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  float* data() const { return block_ + offset_; }
  Values values() const { return {data(), data() + count_}; }
  void set(const Values& values) const {
    if (count_ > 0) std::memcpy(data(), values.data(), count_ * sizeof(float));
  }

 private:
  float* block_ = nullptr;
  std::size_t count_;
  int offset_;
};

/// The same numbers in every run.
class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}

  /// From `low` to `high`.
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  template <class T>
  T of(std::initializer_list<T> choices) {
    return choices.begin()[engine_() % choices.size()];
  }
  bool coin() { return engine_() % 2 == 0; }
  /// Standard normal.
  Values normal(int64_t count) {
    Values values(static_cast<std::size_t>(count));
    std::normal_distribution<float> distribution;
    for (float& value : values) value = distribution(engine_);
    return values;
  }

 private:
  std::mt19937 engine_;
};

/// Runs cases, and prints a line for each that throws.
class Cases {
 public:
  template <class Body>
  void run(const std::string& name, Body body) {
    ++cases_;
    try {
      body();
    } catch (const std::exception& error) {
      ++failures_;
      std::printf("FAILED  %s: %s\n", name.c_str(), error.what());
      std::fflush(stdout);
    }
  }

  /// The last line, and what main() returns.
  int finish() const {
    std::printf("%d cases, %d failures\n", cases_, failures_);
    return failures_ == 0 ? 0 : 1;
  }

 private:
  int cases_ = 0, failures_ = 0;
};

inline void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error(what);
}

inline void expect_same_bits(const Values& got, const Values& wanted, const std::string& what) {
  const bool same =
      got.size() == wanted.size() &&
      (got.empty() || std::memcmp(got.data(), wanted.data(), got.size() * sizeof(float)) == 0);
  expect(same, what);
}

/// What `body` returns with the threads forward; reversed and shuffled must return the same bits.
template <class Body>
Values in_every_order(Body body) {
  using cuda_host::Order;
  cuda_host::set_order(Order::forward);
  const Values first = body();
  for (const Order order : {Order::reversed, Order::shuffled}) {
    cuda_host::set_order(order, 1234);
    const Values other = body();
    cuda_host::set_order(Order::forward);
    expect_same_bits(other, first, "the order of threads changes the bits");
  }
  return first;
}

/// As assert_close of tests/checks.py: sums of `depth` products of size `scale`, rounded to float32.
/// A NaN is equal to a NaN only, an infinity to itself.
inline void expect_close(float got, double wanted, double depth, double scale,
                         const std::string& where) {
  constexpr double kEpsilon = std::numeric_limits<float>::epsilon();
  const double tolerance = 4 * kEpsilon * (depth + 2) * scale + 8 * kEpsilon * std::fabs(wanted);
  const bool close = std::isnan(wanted)   ? std::isnan(got)
                     : std::isinf(wanted) ? got == wanted
                                          : std::fabs(got - wanted) <= tolerance;
  if (close) return;
  throw std::runtime_error(where + ": " + std::to_string(got) + ", not " + std::to_string(wanted) +
                           " up to " + std::to_string(tolerance));
}

enum class Ties { away, even };

/// To the nearest number with so many bits of mantissa, of which float32 has 23.
inline float rounded(float value, int bits, Ties ties) {
  if (!std::isfinite(value)) return value;
  int exponent = 0;
  const double mantissa = std::ldexp(std::frexp(value, &exponent), bits + 1);
  const double away = std::round(mantissa), even = std::nearbyint(mantissa);
  return static_cast<float>(std::ldexp(ties == Ties::even ? even : away, exponent - bits - 1));
}

/// A factor as products in `precision` see it.
inline float rounded(float value, cuda::Precision precision, Ties tf32_ties = Ties::away) {
  switch (precision) {
    case cuda::Precision::tf32:
      return rounded(value, 10, tf32_ties);
    case cuda::Precision::bf16:
      return rounded(value, 7, Ties::even);
    default:
      return value;
  }
}

inline std::vector<double> rounded(const Values& values, cuda::Precision precision,
                                   Ties tf32_ties = Ties::away) {
  std::vector<double> result;
  for (const float value : values) result.push_back(rounded(value, precision, tf32_ties));
  return result;
}

}  // namespace striate::kernel_tests
