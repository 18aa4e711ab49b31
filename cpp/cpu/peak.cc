#include "cpu/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "cpu/isa.h"
#include "cpu/memory.h"
#include "cpu/parallel.h"

namespace striate::cpu {
namespace {

template <class Run>
double seconds_of(const Run& run) {
  const auto started = std::chrono::steady_clock::now();
  run();
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  return taken.count();
}

std::atomic<float> sink;  // results must go somewhere, or no compiler would compute them

}  // namespace

double peak_gflops(double seconds) {
  const Kernels& k = kernels();
  constexpr int64_t kRounds = 4096, kPieces = 128;  // some 15 us, some 2 ms a thread
  const int64_t pieces = kPieces * num_threads();
  const double flop = 2.0 * k.peak_sums * k.lanes * kRounds * pieces;
  double best = 0;
  for (double spent = 0; spent < seconds;) {
    const double taken = seconds_of([&] {
      parallel_for(pieces, 1, [&](int64_t, int64_t) {
        sink.store(k.multiply_add_loop(kRounds, 0.75f, 0.25f), std::memory_order_relaxed);
      });
    });
    best = std::max(best, flop / taken / 1e9);
    spent += taken;
  }
  return best;
}

PeakBandwidth peak_bandwidth(int passes) {
  const Kernels& k = kernels();
  constexpr int64_t kFloats = int64_t{24} << 20, kGrain = int64_t{64} << 10;
  const Scratch x(kFloats), y(kFloats);
  for (float* const p : {x.get(), y.get()}) {  // pages that were never written are all one
    parallel_for(kFloats, kGrain,
                 [&](int64_t begin, int64_t end) { std::fill(p + begin, p + end, 1.0f); });
  }
  PeakBandwidth best = {0, 0};
  for (int i = 0; i < passes; ++i) {
    const double reading = seconds_of([&] {
      for (const float* p : {x.get(), y.get()}) {
        parallel_for(kFloats, kGrain, [&](int64_t begin, int64_t end) {
          sink.store(k.read_loop(p + begin, end - begin), std::memory_order_relaxed);
        });
      }
    });
    const double updating = seconds_of([&] {
      parallel_for(kFloats, kGrain, [&](int64_t begin, int64_t end) {
        k.add(y.get() + begin, x.get() + begin, end - begin);
      });
    });
    best.read = std::max(best.read, 8.0 * kFloats / reading / 1e9);
    best.update = std::max(best.update, 12.0 * kFloats / updating / 1e9);
  }
  return best;
}

}  // namespace striate::cpu
