// What this machine could do at best, on the instruction set and the threads in use: the measure
// that benchmarks stand beside. Taken in the same run, because clocks and neighbours change.
#pragma once

namespace striate::cpu {

/// GFLOP/s (10^9) of multiply-adds in registers on all threads: the best of some regions of about
/// 2 ms within `seconds`. A multiply-add counts as two operations.
double peak_gflops(double seconds);

/// GB/s (10^9 bytes) of all threads over arrays that no cache holds (192 MiB, kept in the pool):
/// the best of `passes`.
struct PeakBandwidth {
  double read;    // a sum: every byte read once
  double update;  // y += x: x and y read, y written, as SGD does
};
PeakBandwidth peak_bandwidth(int passes);

}  // namespace striate::cpu
