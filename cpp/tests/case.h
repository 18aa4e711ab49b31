// One drawn case of an op: its sizes, its arrays, and what the fast op must answer.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

namespace striate::tests {

using Floats = std::vector<float>;
/// Writes an op's whole result.
using Run = std::function<void(float* out)>;

/// What float32 may lose in a sum of `depth` products of size `scale`; as tests/checks.py has it.
double rounding(int64_t depth, double scale = 1);

class Case {
 public:
  Case(const std::string& op, int number);

  /// In [low, high].
  int64_t integer(int64_t low, int64_t high);
  bool coin() { return integer(0, 1) == 1; }
  template <class T>
  T one_of(std::initializer_list<T> values) {
    return values.begin()[integer(0, static_cast<int64_t>(values.size()) - 1)];
  }

  /// n standard normal values, which live as long as the case. They start one float behind a vector's
  /// alignment: a kernel may count on none. Of NaNs, where they are asked for, there are few.
  float* normal(int64_t n, bool nans = false);

  /// The n values that `run` writes.
  static Floats result(int64_t n, const Run& run);

  /// Holds that `run` writes what is expected, up to atol and eight units in the last place, on every
  /// instruction set; and the same bits on three threads as on one. Else prints what differs and
  /// ends the program.
  void expect(const char* what, const Floats& expected, double atol, const Run& run) const;

  /// Prints what differs on which instruction set, and ends the program.
  [[noreturn]] void fail(const char* what, const std::string& how) const;

 private:
  void expect_close(const char* what, const Floats& got, const Floats& expected, double atol) const;

  std::string name_;
  std::mt19937_64 random_;
  std::deque<Floats> arrays_;
};

}  // namespace striate::tests

/// Runs `call`, which writes n floats to `out`, in reference:: and in cpu::, and compares.
#define STRIATE_EXPECT_SAME(test, n, atol, call)                                     \
  (test).expect(#call, (test).result(n, [&](float* out) { reference::call; }), atol, \
                [&](float* out) { cpu::call; })
