// Streams, events, and memory in a stream's order.
#include "stream.h"

#include <chrono>
#include <cstring>

struct CUevent_st {
  std::chrono::steady_clock::time_point at;
  bool recorded = false;
};

using namespace striate::cuda_host;

// ---- streams ------------------------------------------------------------------------------------

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const std::lock_guard guard(streams_lock);
  *stream = new CUstream_st{
      .blocking = (flags & cudaStreamNonBlocking) == 0, .thread = {}, .recording = nullptr};
  streams.insert(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const std::lock_guard guard(streams_lock);
  if (legacy(stream) || !exists(stream)) return note(cudaErrorInvalidResourceHandle);
  streams.erase(stream);
  capturing.erase(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const std::lock_guard guard(streams_lock);
  if (!exists(stream)) return note(cudaErrorInvalidResourceHandle);
  if (legacy(stream)) {
    return note(implicit_dependency() ? cudaErrorStreamCaptureImplicit : cudaSuccess);
  }
  if (stream->recording == nullptr) return cudaSuccess;
  invalidate(stream);
  return note(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) { return cudaStreamSynchronize(stream); }

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t, unsigned) {
  const std::lock_guard guard(streams_lock);
  return note(exists(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

cudaError_t cudaDeviceSynchronize() {
  const std::lock_guard guard(streams_lock);
  return note(forbidden() ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

// ---- events -------------------------------------------------------------------------------------

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return enqueue(
      [event] {
        event->at = std::chrono::steady_clock::now();
        event->recorded = true;
        return cudaSuccess;
      },
      stream);
}

cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }

cudaError_t cudaEventQuery(cudaEvent_t) { return cudaSuccess; }

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t stop) {
  if (!start->recorded || !stop->recorded) return note(cudaErrorInvalidResourceHandle);
  *milliseconds = std::chrono::duration<float, std::milli>(stop->at - start->at).count();
  return cudaSuccess;
}

// ---- memory -------------------------------------------------------------------------------------

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const std::lock_guard guard(streams_lock);
  *memory = nullptr;
  return note(forbidden() ? cudaErrorStreamCaptureUnsupported : allocate(memory, bytes));
}

cudaError_t cudaFree(void* memory) {
  const std::lock_guard guard(streams_lock);
  return note(forbidden() ? cudaErrorStreamCaptureUnsupported : release(memory));
}

cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream) {
  const std::lock_guard guard(streams_lock);
  std::shared_ptr<Recording> recording;
  cudaError_t error = recording_of(stream, &recording);
  if (error == cudaSuccess) error = allocate(memory, bytes);
  if (error != cudaSuccess || recording == nullptr) return note(error);
  void* const block = *memory;
  recording->memory.push_back(block);
  recording->nodes.push_back([block, bytes] {
    if (bytes > 0) std::memset(block, 0xFF, bytes);
    return cudaSuccess;
  });
  return cudaSuccess;
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  const std::lock_guard guard(streams_lock);
  std::shared_ptr<Recording> recording;
  const cudaError_t error = recording_of(stream, &recording);
  if (error != cudaSuccess) return note(error);
  if (recording == nullptr) return note(release(memory));
  for (const void* block : recording->memory) {
    if (block == memory) return cudaSuccess;  // the graph keeps it for the next replay
  }
  return note(cudaErrorInvalidValue);
}

cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  return enqueue(
      [=] {
        if (bytes > 0) std::memset(to, value, bytes);
        return cudaSuccess;
      },
      stream);
}

cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  return cudaMemsetAsync(to, value, bytes, nullptr);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return enqueue(
      [=] {
        if (bytes > 0) std::memmove(to, from, bytes);
        return cudaSuccess;
      },
      stream);
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
