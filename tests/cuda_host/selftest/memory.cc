// Memory that is NaN and has its exact size; limits of a launch; captures.
#include "check.h"

namespace selftest {
namespace {

struct Values {
  float x[100];
};

__global__ void dirty_kernel(float* y) {
  Values& values = shared_memory<Values>();
  y[blockIdx.x * 100 + threadIdx.x] = values.x[threadIdx.x];
  values.x[threadIdx.x] = 1;
}

const Check nan{"shared memory is NaN at the start of every block, fresh memory is NaN", [] {
                  Array<float> y(300), fresh(10);
                  for (int i = 0; i < 10; ++i) expect(std::isnan(fresh[i]), "fresh memory");
                  cudaMemset(y.data(), 0, 300 * sizeof(float));
                  expect(launch(3, 100, sizeof(Values), dirty_kernel, y.data()), cudaSuccess,
                         "launch");
                  for (int i = 0; i < 300; ++i) expect(std::isnan(y[i]), "shared memory");
                }};

struct Large {
  char bytes[48 << 10];
  char more;
};
struct Larger : Large {};

template <class T>
__global__ void large_kernel() {
  shared_memory<T>().bytes[0] = 1;
}

const Check limits{
    "launches that a GPU refuses", [] {
      const auto refused = [](cudaError_t error, cudaError_t wanted, const char* what) {
        expect(error, wanted, what);
        expect(cudaPeekAtLastError(), wanted, what);
        expect(cudaGetLastError(), wanted, what);
        expect(cudaGetLastError(), cudaSuccess, what);
      };
      Array<float> y(1);
      refused(launch({0, 1, 1}, 1, 400, dirty_kernel, y.data()), cudaErrorInvalidConfiguration,
              "no block");
      refused(launch({1, 65536, 1}, 1, 400, dirty_kernel, y.data()), cudaErrorInvalidConfiguration,
              "y");
      refused(launch({1, 1, 65536}, 1, 400, dirty_kernel, y.data()), cudaErrorInvalidConfiguration,
              "z");
      refused(launch({1u << 31, 1, 1}, 1, 400, dirty_kernel, y.data()),
              cudaErrorInvalidConfiguration, "x");
      refused(launch(1, 0, 400, dirty_kernel, y.data()), cudaErrorInvalidConfiguration,
              "no thread");
      refused(launch(1, 1025, 400, dirty_kernel, y.data()), cudaErrorInvalidConfiguration, "1025");
      refused(launch(1, {32, 33, 1}, 400, dirty_kernel, y.data()), cudaErrorInvalidConfiguration,
              "32 x 33");
      const auto attribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
      refused(launch(1, 1, sizeof(Large), large_kernel<Large>), cudaErrorInvalidValue,
              "48 KiB + 1");
      expect(cudaFuncSetAttribute(large_kernel<Large>, attribute, sizeof(Large)), cudaSuccess,
             "attribute");
      expect(launch(1, 1, sizeof(Large), large_kernel<Large>), cudaSuccess,
             "48 KiB + 1, after asking");
      refused(launch(1, 1, sizeof(Large) + 1, large_kernel<Large>), cudaErrorInvalidValue,
              "one more");
      refused(launch(1, 1, sizeof(Large), large_kernel<Larger>), cudaErrorInvalidValue,
              "another kernel");
      refused(cudaFuncSetAttribute(large_kernel<Large>, attribute, (227 << 10) + 1),
              cudaErrorInvalidValue, "more than 227 KiB");
    }};

const Check accounts{
    "memory is counted, and a pointer that nobody allocated is not freed", [] {
      const std::size_t bytes = allocated_bytes(), blocks = allocated_blocks();
      {
        Array<float> x(1000);
        expect(allocated_bytes() == bytes + 4000 && allocated_blocks() == blocks + 1, "allocated");
        expect(cudaFree(x.data() + 1), cudaErrorInvalidValue, "inside a block");
      }
      expect(allocated_bytes() == bytes && allocated_blocks() == blocks, "freed");
      cudaGetLastError();
      const std::size_t memory = std::exchange(device().memory, bytes + 100);
      void* block = nullptr;
      const cudaError_t error = cudaMalloc(&block, 101);
      device().memory = memory;
      expect(error, cudaErrorMemoryAllocation, "more than there is");
      cudaGetLastError();
    }};

__global__ void add_kernel(int* y, const int* x, int value) {
  y[threadIdx.x] = x[threadIdx.x] + value;
}

class Stream {
 public:
  explicit Stream(unsigned flags = 0) { cudaStreamCreateWithFlags(&stream_, flags); }
  ~Stream() { cudaStreamDestroy(stream_); }
  operator cudaStream_t() const { return stream_; }
  void begin() const {
    expect(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), cudaSuccess, "begin");
  }

 private:
  cudaStream_t stream_;
};

const Check capture{
    "a capture records, and a replay runs in order with the recorded arguments", [] {
      const Stream stream;
      Array<int> x(4), y(4);
      int called = 0, value = 5;
      cudaMemset(x.data(), 0, 4 * sizeof(int));
      cudaMemset(y.data(), 0, 4 * sizeof(int));
      stream.begin();
      cudaStreamCaptureStatus status;
      cudaStreamIsCapturing(stream, &status);
      expect(status == cudaStreamCaptureStatusActive, "status");
      launch_on(stream, 1, 4, 0, add_kernel, y.data(), x.data(), value);
      value = 50;  // the launch has its own copy
      cudaMemcpyAsync(x.data(), y.data(), 4 * sizeof(int), cudaMemcpyDeviceToDevice, stream);
      cudaMemsetAsync(y.data(), 0, sizeof(int), stream);
      record([&] { ++called; }, stream);
      cudaGraph_t graph;
      expect(cudaStreamEndCapture(stream, &graph), cudaSuccess, "end");
      expect(y[0] == 0 && y[1] == 0 && x[1] == 0 && called == 0, "the capture ran something");
      std::size_t nodes = 0;
      cudaGraphGetNodes(graph, nullptr, &nodes);
      expect(nodes == 4, "nodes");
      cudaGraphExec_t exec;
      expect(cudaGraphInstantiate(&exec, graph), cudaSuccess, "instantiate");
      cudaGraphDestroy(graph);
      for (int i = 1; i <= 3; ++i) {
        expect(cudaGraphLaunch(exec, stream), cudaSuccess, "replay");
        expect(x[0] == 5 * i && x[3] == 5 * i && y[0] == 0 && y[1] == 5 * i && called == i,
               "its results");
      }
      cudaGraphExecDestroy(exec);
      record([&] { ++called; }, stream);
      expect(called == 4, "outside a capture, at once");
    }};

const Check memory{"scratch that is allocated in a capture lives as long as its graph", [] {
                     const std::size_t blocks = allocated_blocks();
                     const Stream stream(cudaStreamNonBlocking);
                     stream.begin();
                     int* scratch = nullptr;
                     expect(cudaMallocAsync(&scratch, 4 * sizeof(int), stream), cudaSuccess,
                            "allocate");
                     launch_on(stream, 1, 4, 0, add_kernel, scratch, scratch, 1);
                     expect(cudaFreeAsync(scratch, stream), cudaSuccess, "free");
                     cudaGraph_t graph;
                     expect(cudaStreamEndCapture(stream, &graph), cudaSuccess, "end");
                     cudaGraphExec_t exec;
                     cudaGraphInstantiate(&exec, graph);
                     cudaGraphDestroy(graph);
                     for (int i = 0; i < 2; ++i) {
                       expect(cudaGraphLaunch(exec, nullptr), cudaSuccess, "replay");
                       expect(scratch[3] == 0, "fresh in each replay");  // -1 + 1
                     }
                     expect(allocated_blocks() == blocks + 1, "while the graph lives");
                     cudaGraphExecDestroy(exec);
                     expect(allocated_blocks() == blocks, "after it");
                   }};

const Check refusals{
    "what a capture does not allow ends it", [] {
      const Stream stream, other, independent(cudaStreamNonBlocking);
      Array<int> x(4);
      const auto spoilt = [&](const Stream& stream, auto call, cudaError_t wanted,
                              const char* what) {
        stream.begin();
        expect(call(), wanted, what);
        cudaStreamCaptureStatus status;
        cudaStreamIsCapturing(stream, &status);
        expect(status == cudaStreamCaptureStatusInvalidated, what);
        expect(launch_on(stream, 1, 1, 0, add_kernel, x.data(), x.data(), 1),
               cudaErrorStreamCaptureInvalidated, what);
        cudaGraph_t graph;
        expect(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated, what);
        expect(graph == nullptr, what);
        cudaGetLastError();
      };
      const auto unsupported = cudaErrorStreamCaptureUnsupported;
      spoilt(stream, [&] { return cudaStreamSynchronize(stream); }, unsupported, "synchronise");
      spoilt(stream, [] { return cudaDeviceSynchronize(); }, unsupported, "synchronise all");
      spoilt(
          stream,
          [] {
            void* block;
            return cudaMalloc(&block, 1);
          },
          unsupported, "cudaMalloc");
      spoilt(
          stream, [&] { return launch(1, 1, 0, add_kernel, x.data(), x.data(), 1); },
          cudaErrorStreamCaptureImplicit, "the legacy stream");
      spoilt(
          independent, [] { return cudaDeviceSynchronize(); }, unsupported, "synchronise all, too");

      independent.begin();
      expect(launch(1, 1, 0, add_kernel, x.data(), x.data(), 1), cudaSuccess,
             "beside an independent one");
      expect(launch_on(other, 1, 1, 0, add_kernel, x.data(), x.data(), 1), cudaSuccess,
             "on another stream");
      cudaGraph_t graph;
      expect(cudaStreamEndCapture(independent, &graph), cudaSuccess, "end");
      cudaGraphDestroy(graph);
      expect(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal), unsupported,
             "the legacy stream");
      cudaGetLastError();
    }};

// ---- what only a sanitizer sees -----------------------------------------------------------------

__global__ void read_kernel(float* y, const float* x, int i) {
  __syncthreads();
  if (threadIdx.x == 20) y[0] = x[i];
}

__global__ void read_shared_kernel(float* y, int i) {
  Values& values = shared_memory<Values>();
  const float* const x = values.x;
  __syncthreads();
  if (threadIdx.x == 20) y[0] = x[i];
}

__global__ void read_vector_kernel(float* y, const float* x, int i) {
  y[0] = reinterpret_cast<const float4*>(x + i)->x;
}

const Check global_end{"sanitizer: a read past the end of global memory",
                       [] {
                         Array<float> x(100), y(1);
                         launch(1, 64, 0, read_kernel, y.data(), x.data(), 100);
                       },
                       true};

const Check shared_end{"sanitizer: a read past the end of shared memory",
                       [] {
                         Array<float> y(1);
                         launch(1, 64, sizeof(Values), read_shared_kernel, y.data(), 100);
                       },
                       true};

const Check aligned{"sanitizer: a vector that is not aligned",
                    [] {
                      Array<float> x(100), y(1);
                      launch(1, 1, 0, read_vector_kernel, y.data(), x.data(), 2);
                    },
                    true};

const Check inside{
    "sanitizer: reads inside", [] {
      Array<float> x(100), y(1);
      expect(launch(1, 64, 0, read_kernel, y.data(), x.data(), 99), cudaSuccess, "global");
      expect(launch(1, 64, sizeof(Values), read_shared_kernel, y.data(), 99), cudaSuccess,
             "shared");
      expect(launch(1, 1, 0, read_vector_kernel, y.data(), x.data(), 4), cudaSuccess, "vector");
    }};

}  // namespace
}  // namespace selftest
