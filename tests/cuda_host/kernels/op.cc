// Op: what its errors say; and, with STRIATE_SYNC or STRIATE_VERBOSE in the environment, which are
// read once in a process, that it waits and speaks.
#include <cstdlib>
#include <shared.cuh>

#include "cuda/launch.h"
#include "kernels.h"

namespace {
int waits = 0;
cudaError_t late_error = cudaSuccess;  // what the next wait reports
}  // namespace

// In place of the emulation's, whose kernels have ended when they are launched: on a GPU it is here
// that a kernel's failure is seen.
extern "C" __attribute__((visibility("default"))) cudaError_t cudaStreamSynchronize(cudaStream_t) {
  ++waits;
  return std::exchange(late_error, cudaSuccess);
}

namespace striate::kernel_tests {
namespace {

using cuda::CudaError;
using cuda::Op;

struct Big {
  float values[1 << 15];  // 128 KiB
};

__global__ void fill_kernel(float* to, int n, float value) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) to[i] = value;
}

__global__ void shared_kernel(float* to) {
  auto& shared = cuda::shared_memory<Big>();
  if (threadIdx.x == 0) to[0] = sizeof shared.values;
}

__global__ void broken_kernel() {
  if (threadIdx.x < 3) __syncthreads();
}

bool is_set(const char* name) { return std::getenv(name) != nullptr; }

/// `body` throws a CudaError whose message has each of `texts`.
template <class Body>
void expect_error(std::initializer_list<const char*> texts, Body body) {
  std::string message;
  try {
    body();
  } catch (const CudaError& error) {
    message = error.what();
  }
  expect(!message.empty(), "nothing was thrown");
  for (const char* text : texts) {
    expect(message.find(text) != std::string::npos, std::string("no '") + text + "' in " + message);
  }
  expect(cudaPeekAtLastError() == cudaSuccess, "the next op would report it again");
}

void errors(Cases& cases) {
  cases.run("a launch that the driver refuses", [] {
    const Op op("relu_forward", {{"N", 3}, {"C", 4}}, {});
    const Array to(Values(1));
    expect_error({"relu_forward N=3 C=4: invalid configuration argument"},
                 [&] { op.launch({1, 2048}, fill_kernel, to.data(), 1, 1.0f); });
    op.launch({1, 32}, fill_kernel, to.data(), 1, 2.0f);  // the next one runs
    expect(to.values() == Values{2}, "2 was not written");
  });
  cases.run("a kernel that fails", [] {
    const Op op("softmax_forward", {{"n", 5}}, {}, "rows");
    expect_error({"softmax_forward n=5: unspecified launch failure: ", "broken_kernel",
                  "block (0, 0, 0) of (1, 1, 1)", "threads 0-2: at __syncthreads"},
                 [&] { op.launch({1, 64}, broken_kernel); });
  });
  cases.run("shared memory beyond the default is asked for, beyond the most refused", [] {
    const Op op("gemm", {{"M", 1}}, {});
    const Array to(Values(1));
    op.launch({1, 32, sizeof(Big)}, shared_kernel, to.data());
    expect(to.values() == Values{sizeof(Big)}, "it did not run");
    expect_error({"gemm M=1: invalid argument"},
                 [&] { op.launch({1, 32, 2 * sizeof(Big)}, shared_kernel, to.data()); });
  });
  cases.run("a GPU that the build has no code for", [] {
    const Op op("dropout_forward", {{"n", 7}}, {});
    expect_error({"dropout_forward n=7: ", "no code for GPUs of compute capability 9.0"},
                 [&] { op.check(cudaErrorNoKernelImageForDevice); });
  });
  cases.run("scratch memory that the device does not have", [] {
    const std::size_t before = std::exchange(cuda_host::device().memory, 1000);
    expect_error({"scratch of 4000 bytes: out of memory"},
                 [] { const cuda::Scratch scratch(1000); });
    cuda_host::device().memory = before;
  });
  cases.run("as many sizes as an op has", [] {
    const Op op("conv2d_forward",
                {{"N", 1},
                 {"C", 2},
                 {"H", 3},
                 {"W", 4},
                 {"K", 5},
                 {"R", 6},
                 {"S", 7},
                 {"G", 8},
                 {"a", 9},
                 {"b", 10},
                 {"c", 11},
                 {"d", 12},
                 {"e", 13},
                 {"f", 14},
                 {"g", 15},
                 {"h", 16}},
                {});
    expect_error({"conv2d_forward N=1 C=2 H=3 ", "g=15 h=16: "},
                 [&] { op.check(cudaErrorInvalidValue); });
  });
}

void waiting(Cases& cases) {
  const Array to(Values(4));
  const auto launch = [&](const Op& op) { op.launch({1, 32}, fill_kernel, to.data(), 4, 1.0f); };
  if (is_set("STRIATE_SYNC")) {
    cases.run("waits after every launch, and reports a failure at its op", [&] {
      const Op op("sgd_step", {{"n", 4}}, {});
      waits = 0;
      launch(op);
      op.clear(to.data(), 4);
      expect(waits == 2, std::to_string(waits) + " waits");
      late_error = cudaErrorIllegalAddress;
      expect_error({"sgd_step n=4: cudaErrorIllegalAddress"}, [&] { launch(op); });
    });
    cases.run("does not wait for a stream that is being captured", [&] {
      cudaStream_t stream = nullptr;
      cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
      cuda::session().stream = stream;
      cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed);
      waits = 0;
      launch(Op("sgd_step", {{"n", 4}}, {}));
      cudaGraph_t graph = nullptr;
      expect(cudaStreamEndCapture(stream, &graph) == cudaSuccess, "the capture has ended before");
      cudaGraphDestroy(graph);
      cuda::session().stream = nullptr;
      cudaStreamDestroy(stream);
      expect(waits == 0, std::to_string(waits) + " waits");
    });
  } else if (!is_set("STRIATE_VERBOSE")) {
    cases.run("does not wait", [&] {
      waits = 0;
      launch(Op("sgd_step", {{"n", 4}}, {}));
      expect(waits == 0, std::to_string(waits) + " waits");
    });
  }
}

/// What is said, whoever reads standard error checks.
void speaking(Cases& cases) {
  const Array to(Values(4));
  cases.run("an op that calls another", [&] {
    const Op op("outer_op", {{"N", 4}, {"K", 2}}, {.flop = 16, .bytes = 32}, "tiles");
    const Op inner("inner_op", {{"n", 4}}, {.bytes = 32});
    inner.launch({1, 32}, fill_kernel, to.data(), 4, 1.0f);
  });
  cases.run("another op", [] { const Op op("second_op", {{"n", 4}}, {.bytes = 32}); });
}

}  // namespace
}  // namespace striate::kernel_tests

int main() {
  using namespace striate::kernel_tests;
  Cases cases;
  if (!is_set("STRIATE_VERBOSE")) errors(cases);
  waiting(cases);
  speaking(cases);
  return cases.finish();
}
