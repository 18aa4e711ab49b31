// The block's dynamic shared memory. (tests/cuda_host has the same name for kernels on the host.)
#pragma once

namespace striate::cuda {

/// The block's shared memory as a T, uninitialised; the launch's Grid says sizeof(T).
template <class T>
__device__ __forceinline__ T& shared_memory() {
  extern __shared__ __align__(1024) unsigned char striate_shared[];
  return *reinterpret_cast<T*>(striate_shared);
}

}  // namespace striate::cuda
