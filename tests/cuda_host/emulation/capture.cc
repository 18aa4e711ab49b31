// Captures: what is recorded, what is refused, and graphs.
#include "stream.h"

struct CUgraph_st {
  std::shared_ptr<striate::cuda_host::Recording> recording;
};

struct CUgraphExec_st {
  std::shared_ptr<striate::cuda_host::Recording> recording;
};

namespace striate::cuda_host {

std::mutex streams_lock;
std::unordered_set<cudaStream_t> streams, capturing;

bool legacy(cudaStream_t stream) { return stream == nullptr || stream == cudaStreamLegacy; }

bool exists(cudaStream_t stream) { return legacy(stream) || streams.contains(stream); }

void invalidate(cudaStream_t stream) { stream->status = cudaStreamCaptureStatusInvalidated; }

bool forbidden() {
  bool any = false;
  for (cudaStream_t stream : capturing) {
    const bool mine = stream->thread == std::this_thread::get_id();
    if (stream->mode == cudaStreamCaptureModeGlobal ||
        (stream->mode == cudaStreamCaptureModeThreadLocal && mine)) {
      invalidate(stream);
      any = true;
    }
  }
  return any;
}

bool implicit_dependency() {
  bool any = false;
  for (cudaStream_t stream : capturing) {
    if (stream->blocking) {
      invalidate(stream);
      any = true;
    }
  }
  return any;
}

cudaError_t recording_of(cudaStream_t stream, std::shared_ptr<Recording>* recording) {
  if (!exists(stream)) return cudaErrorInvalidResourceHandle;
  if (legacy(stream)) {
    return implicit_dependency() ? cudaErrorStreamCaptureImplicit : cudaSuccess;
  }
  if (stream->status == cudaStreamCaptureStatusInvalidated) {
    return cudaErrorStreamCaptureInvalidated;
  }
  *recording = stream->recording;
  return cudaSuccess;
}

namespace {

cudaError_t replay(const Recording& recording) {
  for (const Work& node : recording.nodes) {
    const cudaError_t error = node();
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t enqueue(Work work, cudaStream_t stream) {
  {
    const std::lock_guard guard(streams_lock);
    std::shared_ptr<Recording> recording;
    const cudaError_t error = recording_of(stream, &recording);
    if (error != cudaSuccess) return note(error);
    if (recording != nullptr) {
      recording->nodes.push_back(std::move(work));
      return cudaSuccess;
    }
  }
  return note(work());
}

cudaError_t record(std::function<void()> work, cudaStream_t stream) {
  return enqueue(
      [work = std::move(work)] {
        work();
        return cudaSuccess;
      },
      stream);
}

}  // namespace striate::cuda_host

using namespace striate::cuda_host;

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const std::lock_guard guard(streams_lock);
  if (legacy(stream)) return note(cudaErrorStreamCaptureUnsupported);
  if (!exists(stream)) return note(cudaErrorInvalidResourceHandle);
  if (stream->recording != nullptr) return note(cudaErrorInvalidValue);
  stream->status = cudaStreamCaptureStatusActive;
  stream->mode = mode;
  stream->thread = std::this_thread::get_id();
  stream->recording = std::make_shared<Recording>();
  capturing.insert(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const std::lock_guard guard(streams_lock);
  *status = cudaStreamCaptureStatusNone;
  if (!exists(stream)) return note(cudaErrorInvalidResourceHandle);
  if (!legacy(stream)) {
    *status = stream->status;
    return cudaSuccess;
  }
  for (cudaStream_t other : capturing) {
    if (other->blocking) return note(cudaErrorStreamCaptureImplicit);
  }
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard guard(streams_lock);
  *graph = nullptr;
  if (legacy(stream) || !exists(stream)) return note(cudaErrorInvalidResourceHandle);
  if (stream->recording == nullptr) return note(cudaErrorInvalidValue);
  if (stream->mode != cudaStreamCaptureModeRelaxed &&
      stream->thread != std::this_thread::get_id()) {
    return note(cudaErrorStreamCaptureWrongThread);
  }
  const bool valid = stream->status == cudaStreamCaptureStatusActive;
  const std::shared_ptr<Recording> recording = std::move(stream->recording);
  stream->recording = nullptr;
  stream->status = cudaStreamCaptureStatusNone;
  capturing.erase(stream);
  if (!valid) return note(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st{recording};
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  if (nodes != nullptr) return note(cudaErrorNotSupported);
  *count = graph->recording->nodes.size();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->recording};
  return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) { return cudaSuccess; }

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return enqueue([recording = exec->recording] { return replay(*recording); }, stream);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
