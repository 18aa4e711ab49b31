// STRIATE_VERBOSE=1: one line on standard error for every call of an op.
//
//   striate: conv2d_forward N=64 C=3 ... algorithm=gemm isa=avx512 threads=2 us=5321.0 GFLOP/s=188.2
//
// A Trace stands at the top of an op's public function and speaks when that returns. An op that
// calls another one (linear calls gemm) speaks for both: times of lines may be added up.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <initializer_list>

namespace striate::cpu {

namespace trace {
extern std::atomic<int> state;  // -1: STRIATE_VERBOSE was not read yet
bool read();
}  // namespace trace

/// Whether STRIATE_VERBOSE was set, to anything but 0, when the first op asked.
inline bool verbose() {
  const int state = trace::state.load(std::memory_order_relaxed);
  return state != 0 && (state > 0 || trace::read());
}

class Trace {
 public:
  /// "N=64": the sizes that make the cost, by the names that the op's contract has for them.
  struct Size {
    const char* name;
    int64_t value;
  };
  /// What one call does; the rate that is not 0 is printed. `bytes`: each array once.
  struct Amount {
    double flop = 0, bytes = 0;
  };

  /// `algorithm` is the name of one that was chosen, nullptr where there is but one.
  Trace(const char* op, std::initializer_list<Size> sizes, Amount amount,
        const char* algorithm = nullptr) {
    if (verbose()) begin(op, sizes, amount, algorithm);
  }
  ~Trace() {
    if (op_ != nullptr) end();
  }
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

 private:
  void begin(const char* op, std::initializer_list<Size> sizes, Amount amount,
             const char* algorithm);
  void end();

  const char* op_ = nullptr;  // nullptr: silent
  char sizes_[256];           // longer lists are cut
  Amount amount_;
  const char* algorithm_ = nullptr;
  std::chrono::steady_clock::time_point started_;
};

}  // namespace striate::cpu
