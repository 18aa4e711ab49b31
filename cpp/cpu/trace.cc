#include "cpu/trace.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "cpu/isa.h"
#include "cpu/parallel.h"

namespace striate::cpu {
namespace {

thread_local bool speaking = false;  // an op that called this one will speak

}  // namespace

namespace trace {

std::atomic<int> state{-1};

bool read() {
  const char* const value = std::getenv("STRIATE_VERBOSE");
  const bool on = value != nullptr && *value != '\0' && std::string(value) != "0";
  state.store(on ? 1 : 0, std::memory_order_relaxed);
  return on;
}

}  // namespace trace

void Trace::begin(const char* op, std::initializer_list<Size> sizes, Amount amount,
                  const char* algorithm) {
  if (speaking) return;
  speaking = true;
  op_ = op;
  sizes_[0] = '\0';
  int used = 0;
  for (const Size& size : sizes) {
    if (used >= static_cast<int>(sizeof sizes_)) break;
    used += std::snprintf(sizes_ + used, sizeof sizes_ - used, " %s=%lld", size.name,
                          static_cast<long long>(size.value));
  }
  amount_ = amount;
  algorithm_ = algorithm;
  started_ = std::chrono::steady_clock::now();
}

void Trace::end() {
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started_;
  speaking = false;
  const bool flop = amount_.flop > 0;
  const double rate = (flop ? amount_.flop : amount_.bytes) / taken.count() / 1e9;
  const std::string algorithm =
      algorithm_ == nullptr ? "" : std::string(" algorithm=") + algorithm_;
  std::fprintf(stderr, "striate: %s%s%s isa=%s threads=%d us=%.1f %s=%.1f\n", op_, sizes_,
               algorithm.c_str(), isa_name().c_str(), num_threads(), taken.count() * 1e6,
               flop ? "GFLOP/s" : "GB/s", rate);
}

}  // namespace striate::cpu
