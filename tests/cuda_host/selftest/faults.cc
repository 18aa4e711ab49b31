// What is undefined on a GPU is refused, with a report that says where; and the next launch runs.
#include "check.h"

namespace selftest {
namespace {

constexpr int kLine = __LINE__;
__global__ void divergent_kernel() {
  if (threadIdx.x < 40) {
    __syncthreads();  // kLine + 3
  } else {
    __syncthreads();  // kLine + 5
  }
}

const Check divergent{
    "threads at different barriers", [] {
      const std::string first = "faults.cc:" + std::to_string(kLine + 3);
      const std::string second = "faults.cc:" + std::to_string(kLine + 5);
      in_every_order([&] {
        expect_fault(
            {"at another __syncthreads", first, second, "divergent_kernel", "of (2, 1, 1)"}, 2, 128,
            0, divergent_kernel);
      });
      expect_fault({"block (0, 0, 0)", "thread 40 is at another __syncthreads than thread 0",
                    "threads 0-39: at", "threads 40: at", "threads 41-127: not started"},
                   2, 128, 0, divergent_kernel);
    }};

template <int kWhich>
void barrier() {
  __syncthreads();
}

__global__ void instances_kernel() { threadIdx.x < 64 ? barrier<0>() : barrier<1>(); }

const Check instances{"threads at the same line of two instances of a template", [] {
                        in_every_order([] {
                          expect_fault({"at another __syncthreads"}, 1, 128, 0, instances_kernel);
                        });
                      }};

__global__ void early_kernel(unsigned last) {
  if (threadIdx.x == last) return;
  __syncthreads();
}

const Check early{
    "a thread that ends before a barrier", [] {
      in_every_order([] {
        for (const unsigned last : {0u, 50u, 95u})
          expect_fault({"__syncthreads"}, 1, 96, 0, early_kernel, last);
      });
      expect_fault({"thread 95 ends, but thread 0 waits for it"}, 1, 96, 0, early_kernel, 95u);
      expect_fault({"thread 1 is at __syncthreads, but there are threads that have ended"}, 1, 96,
                   0, early_kernel, 0u);
    }};

__global__ void deadlock_kernel() {
  if (threadIdx.x < 16) {
    __syncwarp(0x0001ffffu);
  } else {
    __syncthreads();
  }
}

const Check deadlock{
    "a deadlock", [] {
      in_every_order([] {
        expect_fault({"deadlock", "threads 0-15: at __syncwarp", "threads 16-63: at __syncthreads"},
                     1, 64, 0, deadlock_kernel);
      });
    }};

__global__ void endless_kernel() {
  wait_until([] { return false; }, "a copy that nobody makes");
}

const Check endless{"a wait for what nobody does", [] {
                      expect_fault({"deadlock", "threads 0-31: at a copy that nobody makes"}, 1, 32,
                                   0, endless_kernel);
                    }};

__global__ void other_lane_kernel() { __shfl_sync(~(1u << threadIdx.x), 1, 0); }

__global__ void ended_lane_kernel(unsigned lane) {
  if (threadIdx.x == lane) return;
  __ballot_sync(~0u, 1);
}

__global__ void all_lanes_kernel() { __any_sync(~0u, 1); }

__global__ void other_function_kernel() {
  if (threadIdx.x % 32 < 8) {
    __ballot_sync(~0u, 1);
  } else {
    __syncwarp();
  }
}

__global__ void other_mask_kernel() {
  if (threadIdx.x % 32 < 8) {
    __syncwarp(0x0000ffffu);
  } else {
    __syncwarp(0xffffff80u);
  }
}

const Check masks{
    "masks: without the caller, with lanes that ended, are not there, are elsewhere", [] {
      in_every_order([] {
        expect_fault({"__shfl_sync", "lacks its own lane"}, 1, 32, 0, other_lane_kernel);
        for (const unsigned lane : {0u, 7u, 31u})
          expect_fault({"__ballot_sync"}, 1, 64, 0, ended_lane_kernel, lane);
        expect_fault(
            {"__any_sync with mask 0xffffffff", "which names lanes that the block has not"}, 1, 40,
            0, all_lanes_kernel);
        expect_fault({"but thread", "__ballot_sync", "__syncwarp"}, 1, 32, 0,
                     other_function_kernel);
        expect_fault({"but thread", "0x0000ffff", "0xffffff80"}, 1, 32, 0, other_mask_kernel);
      });
      expect_fault({"which names lanes that have ended: 0x00000001"}, 1, 64, 0, ended_lane_kernel,
                   0u);
      expect_fault({"thread 31 ends, but lanes 0x7fffffff of its warp wait for it"}, 1, 64, 0,
                   ended_lane_kernel, 31u);
    }};

__global__ void group_kernel(unsigned last) {
  if (threadIdx.x == last) return;
  warpgroup_exchange(threadIdx.x);
}

const Check groups{"a warpgroup that is not whole", [] {
                     expect_fault({"less than 128 threads"}, 1, 64, 0, group_kernel, 64u);
                     expect_fault({"ends, but its warpgroup waits"}, 1, 128, 0, group_kernel, 127u);
                     expect_fault({"threads of its warpgroup have ended"}, 1, 128, 0, group_kernel,
                                  0u);
                     expect(launch(1, 128, 0, group_kernel, 128u), cudaSuccess, "a whole one");
                   }};

float deep(int depth, volatile float* x) {
  volatile float mine[256];
  mine[0] = x[0];
  return depth == 0 ? mine[0] : deep(depth - 1, mine) + mine[0];
}

__global__ void deep_kernel(int depth) {
  volatile float x = 1;
  deep(depth, &x);
}

const Check overflow{"a stack that overflows",
                     [] {
                       expect(launch(2, 64, 0, deep_kernel, 16), cudaSuccess,
                              "a stack that does not");
                       for (int i = 0; i < 3; ++i) {
                         expect_fault({"a kernel(int)", "thread 0 has overflowed its stack"}, 2, 64,
                                      0, deep_kernel, 1000);
                       }
                     },
                     kSanitized};  // which ends the process with a report of its own

struct Large {
  char bytes[1000];
};

__global__ void large_kernel() { shared_memory<Large>(); }

const Check shared{"more shared memory than the launch gave", [] {
                     expect_fault({"asks for 1000 bytes of shared memory; the launch gave 999"}, 1,
                                  1, 999, large_kernel);
                     expect(launch(1, 1, 1000, large_kernel), cudaSuccess, "as much as it gave");
                   }};

__global__ void barrier_kernel(int* y) {
  __syncthreads();
  if (threadIdx.x == 0) *y = 7;
}

const Check after{"a launch after a fault runs", [] {
                    in_every_order([] {
                      expect_fault({}, 4, 128, 0, divergent_kernel);
                      expect_fault({}, 1, 32, 0, other_function_kernel);
                      Array<int> y(1);
                      expect(launch(1, 128, 0, barrier_kernel, y.data()), cudaSuccess, "launch");
                      expect(y[0] == 7, "it has not run");
                      expect(cudaGetLastError(), cudaSuccess, "the last error");
                    });
                  }};

}  // namespace
}  // namespace selftest
