// Warp functions, and what matrix instructions and asynchronous copies are built from.
#include "check.h"

namespace selftest {
namespace {

constexpr unsigned kAll = ~0u;

struct Shuffled {
  float index, from, rotated, up, down, across, far;
  unsigned votes;
  int any, all, none;
};

__global__ void shuffle_kernel(Shuffled* y) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const float x = static_cast<float>(threadIdx.x);
  y[threadIdx.x] = {.index = __shfl_sync(kAll, x, 5),
                    .from = __shfl_sync(kAll, x, 2, 8),
                    .rotated = __shfl_sync(kAll, x, lane + 1),
                    .up = __shfl_up_sync(kAll, x, 3, 16),
                    .down = __shfl_down_sync(kAll, x, 3),
                    .across = __shfl_xor_sync(kAll, x, 9),
                    .far = __shfl_xor_sync(kAll, x, 16, 16),
                    .votes = __ballot_sync(kAll, lane % 3 == 0),
                    .any = __any_sync(kAll, lane == 7),
                    .all = __all_sync(kAll, lane >= 0),
                    .none = __all_sync(kAll, lane != 7)};
}

const Check shuffles{
    "shuffles and votes", [] {
      in_every_order([] {
        Array<Shuffled> y(64);
        expect(launch(1, 64, 0, shuffle_kernel, y.data()), cudaSuccess, "launch");
        for (int i = 0; i < 64; ++i) {
          const int warp = i & ~31, lane = i & 31;
          const auto same = [i](float value, int wanted, const char* name) {
            expect(value == static_cast<float>(wanted),
                   std::string(name) + " of " + std::to_string(i) + " is " + std::to_string(value));
          };
          same(y[i].index, warp + 5, "index");
          same(y[i].from, (i & ~7) + 2, "from");
          same(y[i].rotated, warp + (lane + 1) % 32, "rotated");
          same(y[i].up, lane % 16 < 3 ? i : i - 3, "up");
          same(y[i].down, lane + 3 > 31 ? i : i + 3, "down");
          same(y[i].across, i ^ 9, "across");
          same(y[i].far, lane < 16 ? i : i ^ 16, "far");
          expect(y[i].votes == 0x49249249u, "votes");
          expect(y[i].any == 1 && y[i].all == 1 && y[i].none == 0, "any, all");
        }
      });
    }};

// The two halves of a warp go different ways, and meet again.
__global__ void halves_kernel(unsigned* y) {
  const unsigned lane = threadIdx.x;
  unsigned sum = lane;
  if (lane < 16) {
    for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(0x0000ffffu, sum, step);
  } else {
    sum = __shfl_sync(0xffff0000u, lane, 20);
    __syncwarp(0xffff0000u);
    sum += __shfl_sync(0xffff0000u, lane, 3);  // a lane outside the mask: all bits set
  }
  y[lane] = __shfl_xor_sync(kAll, sum, 16);
}

const Check masks{"parts of a warp shuffle on their own", [] {
                    in_every_order([] {
                      Array<unsigned> y(32);
                      expect(launch(1, 32, 0, halves_kernel, y.data()), cudaSuccess, "launch");
                      for (int i = 0; i < 32; ++i)
                        expect(y[i] == (i < 16 ? 19u : 120u), std::to_string(y[i]));
                    });
                  }};

struct Pair {
  double a;
  int b;
};

// Views stay as they are until the next meeting, whatever other lanes do.
__global__ void exchange_kernel(double* y) {
  const unsigned lane = threadIdx.x % 32;
  double sum = 0;
  for (int round = 0; round < 3; ++round) {
    const Pair mine{lane * 2.0 + round, static_cast<int>(threadIdx.x)};
    const Pair* const all = warp_exchange(kAll, mine);
    for (int i = 0; i < 32; ++i) sum += all[i].a * (all[i].b + 1);
  }
  const Pair* const group = warpgroup_exchange(Pair{1, static_cast<int>(threadIdx.x)});
  for (int i = 0; i < 128; ++i) sum += group[i].b;
  y[threadIdx.x] = sum;
}

const Check exchange{
    "warps and warpgroups exchange values of any type", [] {
      in_every_order([] {
        Array<double> y(256);
        expect(launch(1, 256, 0, exchange_kernel, y.data()), cudaSuccess, "launch");
        for (int t = 0; t < 256; ++t) {
          double sum = 0;
          for (int round = 0; round < 3; ++round) {
            for (int i = 0; i < 32; ++i) sum += (i * 2.0 + round) * (t / 32 * 32 + i + 1);
          }
          for (int i = 0; i < 128; ++i) sum += t / 128 * 128 + i;
          expect(y[t] == sum, std::to_string(y[t]) + ", not " + std::to_string(sum));
        }
      });
    }};

// A product of the warp's 32 x 32 matrix, a row in each lane, with its transpose.
struct Row {
  float x[32], y[32];
};

__global__ void product_kernel(float* y) {
  Row row;
  for (int i = 0; i < 32; ++i) row.x[i] = static_cast<float>(threadIdx.x * 32 + i);
  warp_collective("product", kAll, row, [](unsigned, Lanes<Row> lanes) {
    for (unsigned i = 0; i < 32; ++i) {
      for (unsigned j = 0; j < 32; ++j) {
        float sum = 0;
        for (int k = 0; k < 32; ++k) sum += lanes[i].x[k] * lanes[j].x[k];
        lanes[i].y[j] = sum;
      }
    }
  });
  for (int i = 0; i < 32; ++i) y[threadIdx.x * 32 + i] = row.y[i];
}

const Check collective{
    "a collective reads and writes the operands of all lanes", [] {
      Array<float> y(1024);
      expect(launch(1, 32, 0, product_kernel, y.data()), cudaSuccess, "launch");
      float wanted = 0;
      for (int k = 0; k < 32; ++k)
        wanted += static_cast<float>(3 * 32 + k) * static_cast<float>(17 * 32 + k);
      expect(y[3 * 32 + 17] == wanted && y[17 * 32 + 3] == wanted, std::to_string(y[3 * 32 + 17]));
    }};

struct Copied {
  float x[64];
  unsigned landed;
};

// Each thread copies two values in two groups, and waits for all but `pending` groups.
__global__ void async_kernel(float* y, const float* x, unsigned pending) {
  Copied& copied = shared_memory<Copied>();
  for (int half = 0; half < 2; ++half) {
    const unsigned i = threadIdx.x + 32 * half;
    async_issue([&copied, x, i] { copied.x[i] = x[i]; });
    async_commit();
  }
  async_wait(pending);
  __syncthreads();
  for (int half = 0; half < 2; ++half)
    y[threadIdx.x + 32 * half] = copied.x[threadIdx.x + 32 * half];
}

const Check async{"a thread's copies land at its wait, group by group, and not before", [] {
                    Array<float> x(64), y(64);
                    for (int i = 0; i < 64; ++i) x[i] = static_cast<float>(i);
                    for (unsigned pending = 0; pending < 3; ++pending) {
                      expect(
                          launch(1, 32, sizeof(Copied), async_kernel, y.data(), x.data(), pending),
                          cudaSuccess, "launch");
                      for (unsigned i = 0; i < 64; ++i) {
                        const bool lands = i / 32 + pending < 2;
                        expect(lands ? y[i] == x[i] : std::isnan(y[i]),
                               "with " + std::to_string(pending) + " pending");
                      }
                    }
                  }};

// One thread asks for a copy, which counts itself when it has landed; the others wait for that.
template <bool kWaits>
__global__ void bulk_kernel(float* y, const float* x) {
  Copied& copied = shared_memory<Copied>();
  if (threadIdx.x == 0) {
    copied.landed = 0;
    when_waiting([&copied, x] {
      std::memcpy(copied.x, x, sizeof copied.x);
      ++copied.landed;
    });
  }
  __syncthreads();
  if (kWaits) wait_until([&copied] { return copied.landed == 1; }, "landed");
  y[threadIdx.x] = copied.x[threadIdx.x];
}

const Check bulk{"a block's copies land when all its threads wait", [] {
                   in_every_order([] {
                     Array<float> x(64), y(64);
                     for (int i = 0; i < 64; ++i) x[i] = static_cast<float>(i);
                     expect(launch(2, 64, sizeof(Copied), bulk_kernel<true>, y.data(), x.data()),
                            cudaSuccess, "launch");
                     for (int i = 0; i < 64; ++i) expect(y[i] == x[i], "not landed");
                     expect(launch(2, 64, sizeof(Copied), bulk_kernel<false>, y.data(), x.data()),
                            cudaSuccess, "launch");
                     for (int i = 0; i < 64; ++i)
                       expect(std::isnan(y[i]), "landed before anybody waited");
                   });
                 }};

__global__ void atomics_kernel(int* y, unsigned long long* z) {
  const int i = static_cast<int>(threadIdx.x);
  atomicAdd(&y[0], i);
  atomicMax(&y[1], i);
  atomicMin(&y[2], -i);
  if (atomicCAS(&y[3], 0, i + 1) == 0) atomicExch(&y[4], 1);
  atomicOr(&y[5], 1 << i % 8);
  atomicAdd(z, ~0ull);
}

const Check atomics{
    "atomics, minima and maxima", [] {
      Array<int> y(6);
      Array<unsigned long long> z(1);
      cudaMemset(y.data(), 0, 6 * sizeof(int));
      z[0] = 100;
      expect(launch(1, 100, 0, atomics_kernel, y.data(), z.data()), cudaSuccess, "launch");
      expect(y[0] == 4950 && y[1] == 99 && y[2] == -99, "sum, max, min");
      expect(y[3] == 1 && y[4] == 1 && y[5] == 255 && z[0] == 0, "CAS, exchange, or, 64 bits");
      expect(max(1.0f, NAN) == 1.0f && min(NAN, 1.0f) == 1.0f && max(-1, 2) == 2, "max, min");
      expect(__umulhi(0x80000000u, 6) == 3 && __popc(0xF0u) == 4 && __clz(1) == 31 && __ffs(8) == 4,
             "bits");
    }};

}  // namespace
}  // namespace selftest
