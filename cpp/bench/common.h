// What the benchmarks share: arguments filled with numbers, a run per instruction set, GFLOP/s.
// Named shapes are layers of LeNet-5 and of AlexNet at batch 64, unless the file says otherwise.
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cpu/isa.h"
#include "cpu/parallel.h"
#include "cpu/peak.h"

namespace striate::bench {

/// Numbers between -1 and 1 that no compiler can foresee and every run repeats.
inline std::vector<float> numbers(int64_t count) {
  std::vector<float> values(count);
  uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int32_t>(state)) / 2147483648.0f;
  }
  return values;
}

/// What this machine could do at best of `unit` on the instruction set in use: GFLOP/s in registers
/// or GB/s of memory (peak_bandwidth's update). Measured in this process, when first asked for.
inline double peak(const std::string& isa, const std::string& unit) {
  static std::map<std::pair<std::string, std::string>, double> known;
  double& value = known[{isa, unit}];
  if (value == 0) {
    value = unit == "FLOP/s" ? cpu::peak_gflops(0.02) : cpu::peak_bandwidth(3).update;
  }
  return value;
}

/// Times run() on every instruction set of this machine, as "<name>/<instruction set>". A run does
/// `amount` of `unit`: floating-point operations, or bytes read and written where those count.
template <class Run>
void add(const std::string& name, double amount, const Run& run, const char* unit = "FLOP/s") {
  for (const std::string& isa : cpu::supported_isas()) {
    auto body = [=](benchmark::State& state) {
      cpu::set_isa(isa);
      const double best = 1e9 * peak(isa, unit);
      const auto started = std::chrono::steady_clock::now();
      for ([[maybe_unused]] auto _ : state) run();
      const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
      state.counters[unit] = benchmark::Counter(
          amount, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
      // Bytes may come from a cache, faster than from memory: a share above 1 says so.
      const double rate = amount * static_cast<double>(state.iterations()) / taken.count();
      state.counters["of_peak"] = rate / best;
      state.counters["threads"] = cpu::num_threads();
    };
    benchmark::RegisterBenchmark((name + "/" + isa).c_str(), body)
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

inline int run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace striate::bench
