// cuda_host_selftest speed: how much a test may launch. Printed, not checked: in millions a second
// of processor time.
#include <cstdio>
#include <ctime>

#include "check.h"

namespace selftest {
namespace {

__global__ void plain_kernel(float* y) { y[threadIdx.x] = static_cast<float>(blockIdx.x); }

__global__ void barrier_kernel(int rounds) {
  for (int i = 0; i < rounds; ++i) __syncthreads();
}

__global__ void shuffle_kernel(float* y, int rounds) {
  float x = static_cast<float>(threadIdx.x);
  for (int i = 0; i < rounds; ++i) x = __shfl_xor_sync(~0u, x, 1);
  y[threadIdx.x] = x;
}

template <class F>
void measure(const char* what, double count, F f) {
  f();
  const std::clock_t start = std::clock();
  f();
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  std::printf("%-30s %7.1f\n", what, count / seconds / 1e6);
}

const Check speed{"speed",
                  [] {
                    Array<float> y(1024);
                    measure("launches", 1e5, [&] {
                      for (int i = 0; i < 100'000; ++i) launch(1, 1, 0, plain_kernel, y.data());
                    });
                    measure("threads of 256", 256e4,
                            [&] { launch(10'000, 256, 0, plain_kernel, y.data()); });
                    for (const unsigned threads : {32u, 256u, 1024u}) {
                      const std::string of = " of " + std::to_string(threads);
                      const double count = 2000.0 * threads;
                      measure(("barriers" + of).c_str(), count,
                              [&] { launch(1, threads, 0, barrier_kernel, 2000); });
                      measure(("shuffles" + of).c_str(), count,
                              [&] { launch(1, threads, 0, shuffle_kernel, y.data(), 2000); });
                    }
                  },
                  true};

}  // namespace
}  // namespace selftest
