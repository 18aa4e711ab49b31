// Kernels without races have equal bits in every order; a kernel without its barrier has not.
#include <numeric>
#include <thread>

#include "check.h"

namespace selftest {
namespace {

constexpr int kThreads = 256;

struct Partial {
  float sum[kThreads];
};

// One sum of a block's n elements by halves, with or without the barrier that makes it one.
template <bool kBarrier>
__global__ void sum_kernel(float* y, const float* x, int n) {
  Partial& partial = shared_memory<Partial>();
  const unsigned i = threadIdx.x;
  float sum = 0;
  for (int j = static_cast<int>(i); j < n; j += kThreads) sum += x[blockIdx.x * n + j];
  partial.sum[i] = sum;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (kBarrier) __syncthreads();
    if (i < half) partial.sum[i] += partial.sum[i + half];
  }
  if (i == 0) y[blockIdx.x] = partial.sum[0];
}

// The same over a warp, through memory.
template <bool kBarrier>
__global__ void neighbour_kernel(float* y) {
  Partial& partial = shared_memory<Partial>();
  partial.sum[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (kBarrier) __syncwarp();
  y[threadIdx.x] = partial.sum[threadIdx.x ^ 1];
}

std::vector<float> sums(void (*kernel)(float*, const float*, int)) {
  constexpr int kBlocks = 5, kLength = 1000;
  Array<float> x(kBlocks * kLength), y(kBlocks);
  for (int i = 0; i < kBlocks * kLength; ++i) x[i] = 1.0f / static_cast<float>(i + 1);
  expect(launch(kBlocks, kThreads, sizeof(Partial), kernel, y.data(), x.data(), kLength),
         cudaSuccess, "launch");
  return y.values();
}

bool equal_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

const Check correct{
    "a reduction has equal bits in every order", [] {
      const std::vector<float> wanted = sums(sum_kernel<true>);
      float first = 0;
      for (int i = 0; i < 1000; ++i) first += 1.0f / static_cast<float>(i + 1);
      expect(std::fabs(wanted[0] - first) < 1e-4f, "its sum is " + std::to_string(wanted[0]));
      in_every_order([&] { expect(equal_bits(sums(sum_kernel<true>), wanted), "other bits"); });
    }};

const Check incorrect{
    "a reduction without its barrier has not", [] {
      const std::vector<float> wanted = sums(sum_kernel<true>);
      int different = 0;
      in_every_order([&] { different += !equal_bits(sums(sum_kernel<false>), wanted); });
      expect(different >= 9, std::to_string(different) + " of 10 orders show it");
    }};

const Check warp{
    "neither has a warp without its __syncwarp", [] {
      int wrong[2] = {};
      in_every_order([&] {
        for (const bool barrier : {false, true}) {
          Array<float> y(kThreads);
          expect(launch(1, kThreads, sizeof(Partial),
                        barrier ? neighbour_kernel<true> : neighbour_kernel<false>, y.data()),
                 cudaSuccess, "launch");
          for (int i = 0; i < kThreads; ++i) wrong[barrier] += y[i] != static_cast<float>(i ^ 1);
        }
      });
      expect(wrong[0] >= 10 * kThreads / 2, "only " + std::to_string(wrong[0]) + " are wrong");
      expect(wrong[1] == 0, "with it, " + std::to_string(wrong[1]) + " are wrong");
    }};

__global__ void count_kernel(int* counts, int* order, int* next) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
  atomicAdd(&counts[i], 1);
  order[atomicAdd(next, 1)] = static_cast<int>(i);
}

const Check every{
    "every thread of every block runs once, in the order that was asked for", [] {
      constexpr int kAll = 3 * 4 * 5 * 70;
      std::vector<std::vector<int>> orders;
      in_every_order([&] {
        Array<int> counts(kAll), order(kAll), next(1);
        cudaMemset(counts.data(), 0, kAll * sizeof(int));
        cudaMemset(next.data(), 0, sizeof(int));
        expect(
            launch({3, 4, 5}, {7, 5, 2}, 0, count_kernel, counts.data(), order.data(), next.data()),
            cudaSuccess, "launch");
        for (int i = 0; i < kAll; ++i)
          expect(counts[i] == 1, "a thread ran " + std::to_string(counts[i]));
        orders.push_back(order.values());
      });
      std::vector<int> forward(kAll);
      std::iota(forward.begin(), forward.end(), 0);
      expect(orders[0] == forward, "forward");
      expect(orders[1] == std::vector<int>(forward.rbegin(), forward.rend()), "reversed");
      for (std::size_t i = 2; i < orders.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) expect(orders[i] != orders[j], "two orders are equal");
      }
    }};

const Check threads{"two system threads may launch at the same time", [] {
                      const std::vector<float> wanted = sums(sum_kernel<true>);
                      int wrong[2] = {};
                      const auto repeat = [&](int& wrong) {
                        for (int i = 0; i < 200; ++i)
                          wrong += !equal_bits(sums(sum_kernel<true>), wanted);
                      };
                      std::thread other([&] { repeat(wrong[1]); });
                      repeat(wrong[0]);
                      other.join();
                      expect(wrong[0] + wrong[1] == 0, "other bits");
                    }};

}  // namespace
}  // namespace selftest
