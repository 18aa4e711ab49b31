// What streams, captures and memory share.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <vector>

#include "runtime.h"

namespace striate::cuda_host {

using Work = std::function<cudaError_t()>;

/// Does it, or records it where the stream is being captured.
cudaError_t enqueue(Work work, cudaStream_t stream);

/// Remembers a failure for cudaGetLastError, and returns it.
cudaError_t note(cudaError_t error);

cudaError_t allocate(void** to, std::size_t bytes);
cudaError_t release(void* block);

/// What a capture recorded, and the memory that was allocated in it: the graph's, and of what was
/// instantiated from it.
struct Recording {
  std::vector<Work> nodes;
  std::vector<void*> memory;
  ~Recording() {
    for (void* block : memory) release(block);
  }
};

}  // namespace striate::cuda_host

struct CUstream_st {
  bool blocking;
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;                                    // that began the capture
  std::shared_ptr<striate::cuda_host::Recording> recording;  // nullptr outside a capture
};

namespace striate::cuda_host {

// ---- to be called with the lock held ------------------------------------------------------------
extern std::mutex streams_lock;
extern std::unordered_set<cudaStream_t> streams, capturing;

bool legacy(cudaStream_t stream);
bool exists(cudaStream_t stream);
void invalidate(cudaStream_t stream);
/// Whether a capture forbids a call that would synchronise or allocate; that ends the capture.
bool forbidden();
/// The legacy stream waits for every blocking stream, and one that is being captured never ends:
/// whether there is one; that ends its capture.
bool implicit_dependency();
/// Sets *recording where the stream is being captured; or returns an error.
cudaError_t recording_of(cudaStream_t stream, std::shared_ptr<Recording>* recording);

}  // namespace striate::cuda_host
